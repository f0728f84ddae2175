"""Check a graph that a confined process wrote, before a library reads the files that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import onnx

from thoth_models_builder.compile.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DOMAINS: Final = frozenset({"", "ai.onnx"})


def check_graph(path: Path) -> None:
    """Refuse a graph whose weights are in another file than the one beside it, or whose operators are not of ONNX.

    Raises:
        SandboxError: The file is not a graph, or refers to something else.
    """
    try:
        model = onnx.load_model(path, load_external_data=False)
    except Exception as error:  # protobuf has errors of its own
        raise SandboxError(f"{path.name}: expected an ONNX graph, found something else") from error
    data = path.with_name(f"{path.name}.data")
    size = data.stat().st_size if data.exists() else 0
    for tensor in _tensors(model):
        place = {entry.key: entry.value for entry in tensor.external_data}
        if not place:
            continue
        location, offset, length = place.get("location"), place.get("offset", "0"), place.get("length", "")
        is_inside = offset.isdecimal() and length.isdecimal() and int(offset) + int(length) <= size
        if location != data.name or not is_inside:
            raise SandboxError(
                f"{path.name}: {tensor.name}: expected weights in {data.name}, found {location!r} from {offset}, "
                f"{length or 'unknown'} bytes long"
            )
    domains = {opset.domain for opset in model.opset_import}
    if unknown := sorted(domains - _DOMAINS):
        raise SandboxError(f"{path.name}: expected the operators of ONNX, found those of {', '.join(unknown)}")


def _tensors(message: object) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of a message, at every depth: in graphs, branches, functions and attributes."""
    waiting = [message]
    while waiting:
        current = waiting.pop()
        if isinstance(current, onnx.TensorProto):
            yield current
            continue
        for field, value in current.ListFields():  # type: ignore[attr-defined] # a message of protobuf
            if field.message_type is not None:
                waiting += list(value) if field.is_repeated else [value]
