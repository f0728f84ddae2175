"""Where the weights of an ONNX graph lie, read from the graph itself, so that they need not be read by onnxruntime.

A graph is a protocol buffer (https://protobuf.dev/programming-guides/encoding/); the field numbers are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Only what describes tensors outside of the graph is read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from thoth_models.canonical import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODEL_GRAPH: Final = 7
_GRAPH_INITIALIZER: Final = 5
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_EXTERNAL, _TENSOR_PLACE = 1, 2, 8, 13, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_EXTERNAL: Final = 1

_TYPES: Final = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
}
"""TensorProto.DataType of the tensors that numpy has a type for."""

_LONGEST_VARINT: Final = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """A tensor of a graph whose numbers lie in another file.

    Attributes:
        name: Its name in the graph.
        location: Name of the file, beside the graph.
        offset: Bytes before it in the file.
        shape: Its shape.
        dtype: Its numpy type.
    """

    name: str
    location: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    def of(self, data: memoryview) -> np.ndarray:
        """Return the tensor as a view of the content of its file.

        Raises:
            FormatError: It does not lie within the file.
        """
        count = math.prod(self.shape)
        end = self.offset + count * self.dtype.itemsize
        if not 0 <= self.offset <= end <= len(data):
            raise FormatError(
                f"{self.name}: expected to lie within the {len(data)} bytes of {self.location}, "
                f"found {self.offset} to {end}"
            )
        return np.frombuffer(data, dtype=self.dtype, count=count, offset=self.offset).reshape(self.shape)


def weights(graph: memoryview) -> list[Weight]:
    """Return the tensors that lie outside of a graph, in the graph's order.

    Raises:
        FormatError: It is no graph, or one of them is not described in a way that this release reads.
    """
    try:
        return [
            weight
            for number, value in _fields(graph)
            if number == _MODEL_GRAPH
            for inner, tensor in _fields(_view(value))
            if inner == _GRAPH_INITIALIZER and (weight := _weight(_view(tensor))) is not None
        ]
    except (IndexError, ValueError, OverflowError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"expected an ONNX graph, found something else ({error})") from error


def _weight(tensor: memoryview) -> Weight | None:
    """Return a tensor that lies outside of the graph, or None for one that lies in it."""
    shape: list[int] = []
    kind, name, is_external, entries = 0, "", False, {}
    for number, value in _fields(tensor):
        if number == _TENSOR_DIMS:
            shape += [value] if isinstance(value, int) else _packed(value)
        elif number == _TENSOR_TYPE:
            kind = _number(value)
        elif number == _TENSOR_NAME:
            name = str(_view(value), "utf-8")
        elif number == _TENSOR_PLACE:
            is_external = value == _EXTERNAL
        elif number == _TENSOR_EXTERNAL:
            entry = {inner: str(_view(text), "utf-8") for inner, text in _fields(_view(value))}
            entries[entry.get(_ENTRY_KEY, "")] = entry.get(_ENTRY_VALUE, "")
    if not is_external:
        return None
    if kind not in _TYPES:
        raise FormatError(f"{name}: expected a data type among {', '.join(_TYPES.values())}, found number {kind}")
    return Weight(
        name=name,
        location=entries.get("location", ""),
        offset=int(entries.get("offset", "0")),
        shape=tuple(shape),
        dtype=np.dtype(_TYPES[kind]),
    )


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field: an integer, or the bytes of what has a length."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        value: int | memoryview
        match tag & 7:
            case 0:
                value, position = _varint(message, position)
            case 2:
                length, position = _varint(message, position)
                value, position = _piece(message, position, length)
            case 1:
                value, position = _piece(message, position, 8)
            case 5:
                value, position = _piece(message, position, 4)
            case kind:
                raise ValueError(f"a field of kind {kind} at byte {position}")
        yield tag >> 3, value


def _piece(message: memoryview, position: int, length: int) -> tuple[memoryview, int]:
    end = position + length
    if end > len(message):
        raise ValueError(f"{length} bytes announced at byte {position}, {len(message) - position} are there")
    return message[position:end], end


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for index in range(_LONGEST_VARINT):
        byte = message[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, position + index + 1
    raise ValueError(f"a number that does not end, at byte {position}")


def _packed(values: memoryview) -> list[int]:
    found, position = [], 0
    while position < len(values):
        value, position = _varint(values, position)
        found.append(value)
    return found


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise ValueError("bytes in the place of a number")  # noqa: TRY004 - reported with the other malformed values
    return value


def _view(value: int | memoryview) -> memoryview:
    if not isinstance(value, memoryview):
        raise ValueError("a number in the place of bytes")  # noqa: TRY004
    return value
