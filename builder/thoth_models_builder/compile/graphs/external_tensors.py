"""Write the list of a graph's external tensors, which the runtime reads instead of the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
from onnx import helper
from onnx.external_data_helper import ExternalDataInfo

from thoth_models.backends.onnx_external_data import (
    TENSORS_SUFFIX,
    ExternalTensor,
    tensors_document,
)
from thoth_models_builder.compile.errors import NotExportableError

if TYPE_CHECKING:
    from pathlib import Path


def write_tensors(graph: Path) -> None:
    """Write ``<graph>.tensors.json`` beside a finished graph: name, type, shape and place of each external tensor.

    Args:
        graph: Path of a graph whose external tensors are all in one file.

    Raises:
        NotExportableError: A branch of the graph has an external tensor; the runtime gives a session the content of
            those of the graph itself alone.
    """
    data = graph.read_bytes()
    tensors = [_described(tensor) for tensor in onnx.load_from_string(data).graph.initializer if tensor.external_data]
    # The key `location`, which each has once (TensorProto.external_data), and the tag of the value that follows.
    if (external := data.count(b"\x0a\x08location\x12")) != len(tensors):
        raise NotExportableError(
            f"expected all external tensors in the graph itself, found {external - len(tensors)} in its branches"
        )
    graph.with_name(graph.name + TENSORS_SUFFIX).write_bytes(tensors_document(tensors))


def _described(tensor: onnx.TensorProto) -> ExternalTensor:
    place: Any = ExternalDataInfo(tensor)
    return ExternalTensor(
        name=tensor.name,
        type=helper.tensor_dtype_to_np_dtype(tensor.data_type).name,
        shape=tuple(tensor.dims),
        offset=place.offset or 0,
        length=place.length,
    )
