"""Check a graph that a confined process wrote, before a library reads the files that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import onnx

from thoth_models_builder.compile.errors import SandboxError
from thoth_models_builder.compile.graphs.reading import INPUT_NAME, OUTPUT_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ONNX: Final = ("", "ai.onnx")
_OF_RUNTIME: Final = "com.microsoft"
_WRITTEN: Final = frozenset({"FusedMatMul", "GroupQueryAttention", "MultiHeadAttention", "RotaryEmbedding"})
"""Operators of onnxruntime that the exporter writes (:mod:`thoth_models_builder.compile.attention.nodes`). Others of it
are refused: it adds the domain by itself, and some of them read files or run programs for other devices."""


def check_graph(path: Path) -> None:
    """Refuse a graph that is not one of token ids, whose weights are elsewhere than beside it, or with other operators.

    Raises:
        SandboxError: The file is not a graph, or refers to something else.
    """
    try:
        model = onnx.load_model(path, load_external_data=False)
    except Exception as error:  # protobuf has errors of its own
        raise SandboxError(f"{path.name}: expected an ONNX graph, found something else") from error
    inputs, outputs = ({value.name for value in values} for values in (model.graph.input, model.graph.output))
    if INPUT_NAME not in inputs or outputs != {OUTPUT_NAME}:
        raise SandboxError(
            f"{path.name}: expected the input {INPUT_NAME} and the output {OUTPUT_NAME}, found "
            f"{', '.join(sorted(inputs)) or 'none'} and {', '.join(sorted(outputs)) or 'none'}"
        )
    data = path.with_name(f"{path.name}.data")
    size = data.stat().st_size if data.exists() else 0
    for message in _messages(model):
        if isinstance(message, onnx.TensorProto):
            _check_place(message, path.name, size)
        elif isinstance(message, onnx.NodeProto | onnx.FunctionProto | onnx.OperatorSetIdProto):
            kind = message.op_type if isinstance(message, onnx.NodeProto) else None
            is_written = message.domain == _OF_RUNTIME and (kind is None or kind in _WRITTEN)
            if message.domain not in _ONNX and not is_written:
                raise SandboxError(
                    f"{path.name}: expected the operators of ONNX and {', '.join(sorted(_WRITTEN))}, found "
                    f"{message.domain}{f'.{kind}' if kind else ''}"
                )


def _check_place(tensor: onnx.TensorProto, graph: str, size: int) -> None:
    place = {entry.key: entry.value for entry in tensor.external_data}
    if not place:
        return
    location, offset, length = place.get("location"), place.get("offset", "0"), place.get("length", "")
    is_inside = offset.isdecimal() and length.isdecimal() and int(offset) + int(length) <= size
    if location != f"{graph}.data" or not is_inside:
        raise SandboxError(
            f"{graph}: {tensor.name}: expected weights in {graph}.data, found {location!r} from {offset}, "
            f"{length or 'unknown'} bytes long"
        )


def _messages(model: onnx.ModelProto) -> Iterator[Any]:
    """Yield every message at every depth, in graphs, branches, functions and attributes; nothing within a tensor."""
    waiting: list[Any] = [model]
    while waiting:
        current = waiting.pop()
        yield current
        if isinstance(current, onnx.TensorProto):
            continue
        for field, value in current.ListFields():
            if field.message_type is not None:
                waiting += list(value) if field.is_repeated else [value]
