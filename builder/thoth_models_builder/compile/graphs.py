"""ONNX graphs as files: optimised ahead of time, the same bytes every time, and laid out to be shared by processes.

Weights lie in one file beside the graph, each at the beginning of a page, so that a runtime maps them and all processes
of a machine have one copy. What exporters write of the machine they ran on, of source files and lines, is left out.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import onnx
import onnxruntime
from onnx import numpy_helper

DATA_SUFFIX: Final = ".data"
"""Behind the name of a graph: the file with its weights."""

_EXTERNAL_SIZE: Final = 1024
"""Bytes from which on a tensor lies outside of the graph; shape arithmetic needs the small ones inside."""
_PAGE: Final = 4096

_SLOWER: Final = ("SkipLayerNormFusion", "BiasGeluFusion")
"""Fusions whose kernels take longer on a CPU than what they replace: by 12 % of all-MiniLM-L6-v2, and by 0 to 3 %."""


def finish_graph(raw: Path, target: Path) -> None:
    """Optimise a graph as far as that does not depend on the machine, and write it; for a runtime that then need not.

    Args:
        raw: A graph as :func:`~thoth_models_builder.compile.export.export_graph` writes it, or quantised.
        target: Path of the finished graph. Its weights come to lie beside it, under the name with ``.data`` behind.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="finish-") as name:
        optimized = Path(name) / "optimized.onnx"
        options = onnxruntime.SessionOptions()
        # The level above chooses memory layouts by what the processor can do.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(optimized)
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "optimized.data")
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", str(_EXTERNAL_SIZE)
        )
        onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOWER)
        finished = onnx.load(optimized)
        # Shapes between the nodes, which every runtime works out on its own.
        del finished.graph.value_info[:]
        write_graph(finished, target)


def write_graph(model: onnx.ModelProto, target: Path) -> None:
    """Write a graph and its weights: sorted, page by page, and without a word about where they come from.

    Args:
        model: The graph, with all of its weights in memory; it is changed.
        target: Path of the graph.
    """
    _forget_origin(model)
    weights = sorted(model.graph.initializer, key=lambda tensor: tensor.name)
    data = target.name + DATA_SUFFIX
    with target.with_name(data).open("wb") as file:
        for tensor in weights:
            if not tensor.HasField("raw_data") and tensor.data_type != onnx.TensorProto.STRING:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
            size = len(tensor.raw_data)
            if size < _EXTERNAL_SIZE:
                continue
            file.write(bytes(-file.tell() % _PAGE))
            _lay_out(tensor, location=data, offset=file.tell(), length=size)
            file.write(tensor.raw_data)
            tensor.ClearField("raw_data")
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    target.write_bytes(model.SerializeToString(deterministic=True))


def _lay_out(tensor: onnx.TensorProto, **place: str | int) -> None:
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in place.items():
        tensor.external_data.add(key=key, value=str(value))


def _forget_origin(message: Any) -> None:  # noqa: ANN401 - the messages of ONNX have no common type
    """Take out what exporters write of source files and lines, at every depth."""
    for field, value in list(message.ListFields()):
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                _forget_origin(one)
