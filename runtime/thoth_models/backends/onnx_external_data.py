"""``model.onnx.tensors.json``: the tensors that a graph stores in its weight file, and their positions there.

Pure. The builder derives the list from the graph, and the manifest covers it. So loading a model reads a short JSON
document instead of a protocol buffer: the tensors are then views of the verified pages, and onnxruntime reads no
weights from a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from thoth_models.bundle.canonical_json import FormatError, canonical_json, parse_json

if TYPE_CHECKING:
    from thoth_models.bundle.canonical_json import Node

TENSORS_SUFFIX: Final = ".tensors.json"
"""Appended to the file name of a graph."""

_VERSION: Final = 1

_SIZES: Final = {
    "float32": 4,
    "int8": 1,
    "uint8": 1,
    "int32": 4,
    "int64": 8,
    "uint32": 4,
    "uint64": 8,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "float64": 8,
    "bool": 1,
}
"""Bytes per number, by numpy's name of the type."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExternalTensor:
    """A tensor of a graph that is stored in another file.

    Attributes:
        name: Its name in the graph.
        type: Numpy's name of its type.
        shape: Its shape.
        offset: Its position in the file, in bytes.
        length: Its length in bytes, which follows from type and shape.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int
    length: int

    def view(self, data: memoryview) -> np.ndarray:
        """Return the tensor as a view of the content of the file.

        Raises:
            FormatError: The tensor does not lie within the file.
        """
        end = self.offset + self.length
        if end > len(data):
            raise FormatError(
                f"{self.name}: expected to lie within the {len(data)} bytes of the weights, "
                f"found {self.offset} to {end}"
            )
        count = math.prod(self.shape)
        return np.frombuffer(data, dtype=self.type, count=count, offset=self.offset).reshape(self.shape)

    def to_document(self) -> dict[str, object]:
        """Return the JSON value."""
        return {
            "name": self.name,
            "type": self.type,
            "shape": list(self.shape),
            "offset": self.offset,
            "length": self.length,
        }

    @classmethod
    def from_node(cls, node: Node) -> Self:
        """Read the JSON value.

        Raises:
            FormatError: A key is missing or of another type, or the length does not match type and shape.
        """
        keys = node.members("name", "type", "shape", "offset", "length")
        tensor = cls(
            name=keys["name"].text(),
            type=keys["type"].one_of(*_SIZES),
            shape=tuple(item.integer(minimum=0) for item in keys["shape"].items()),
            offset=keys["offset"].integer(minimum=0),
            length=keys["length"].integer(minimum=0),
        )
        expected = math.prod(tensor.shape) * _SIZES[tensor.type]
        if tensor.length != expected:
            raise keys["length"].wrong(f"{expected} bytes for {tensor.type} of shape {tensor.shape}")
        return tensor


def tensors_document(tensors: list[ExternalTensor]) -> bytes:
    """Return the canonical JSON of a graph's external tensors."""
    ordered = sorted(tensors, key=lambda tensor: (tensor.offset, tensor.length, tensor.name))
    return canonical_json({"version": _VERSION, "tensors": [tensor.to_document() for tensor in ordered]})


def read_tensors(data: bytes) -> list[ExternalTensor]:
    """Read the external tensors of a graph, in the order of their positions.

    Raises:
        FormatError: The document does not have the form that this release reads, a name occurs twice, or two tensors
            overlap.
    """
    keys = parse_json(data).members("version", "tensors")
    keys["version"].one_of(_VERSION)
    names: set[str] = set()
    tensors: list[ExternalTensor] = []
    end = 0
    for node in keys["tensors"].items():
        tensor = ExternalTensor.from_node(node)
        if tensor.name in names:
            raise node.wrong("each name once", found=f"{tensor.name!r} again")
        if tensor.offset < end:
            raise node.wrong(f"an offset of at least {end}, behind the tensor before", found=str(tensor.offset))
        names.add(tensor.name)
        end = tensor.offset + tensor.length
        tensors.append(tensor)
    return tensors
