"""Write ONNX graphs: optimised ahead of time, the same bytes every time, and with weights that processes can share.

The weights are in one file beside the graph, each at the start of a page, so that a runtime can map them and all
processes of a machine share one copy. Source files and line numbers that exporters record are removed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from thoth_models_builder.compile.graphs.external_tensors import write_tensors
from thoth_models_builder.compile.graphs.feed_forward import compare_halves, halve_feed_forward
from thoth_models_builder.compile.graphs.products import arrange_products
from thoth_models_builder.compile.graphs.reading import external_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

DATA_SUFFIX: Final = ".data"
"""Appended to the name of a graph for the file with its weights."""

_EXTERNAL_SIZE: Final = 1024
"""Minimum size in bytes of an external tensor; shape arithmetic needs small tensors inside the graph."""
_PAGE: Final = 4096
"""Bytes of a page of memory, at multiples of which a file can be mapped."""

_SLOWER: Final = ("SkipLayerNormFusion", "BiasGeluFusion")
"""Fusions that are slower on a CPU than the nodes they replace: all-MiniLM-L6-v2 takes 12 % longer with the first one,
and 0 to 3 % with the second."""


def finish_graph(raw: Path, target: Path, *, precision: str = "fp32", is_for_long_texts: bool = False) -> None:
    """Optimise a graph as far as that does not depend on the machine, and write it.

    Args:
        raw: A graph from :func:`~thoth_models_builder.compile.export.export_graph`, or a quantised one.
        target: Path of the finished graph. Its weights are written beside it, with ``.data`` appended to the name, and
            their list with ``.tensors.json``.
        precision: Of its weights. The runtime keeps copies of int8 weights, which are small, so that their products
            need no form for few tokens.
        is_for_long_texts: Whether a text may have more than
            :data:`~thoth_models_builder.compile.graphs.feed_forward.UNDIVIDED_TOKENS` tokens.

    Raises:
        NotExportableError: The graph does not have the same vectors for long texts.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="finish-") as name:
        optimized = Path(name) / "optimized.onnx"
        options = onnxruntime.SessionOptions()
        # Not the next level, which chooses memory layouts that depend on the processor.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(optimized)
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "optimized.data")
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", str(_EXTERNAL_SIZE)
        )
        # After an error, a fallback would optimise the graph again, and without leaving out these fusions.
        onnxruntime.InferenceSession(
            raw, options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOWER, enable_fallback=0
        )
        finished = onnx.load(optimized, load_external_data=False)
        # Not needed: shapes of intermediate values, which every runtime infers itself.
        del finished.graph.value_info[:]
        weights = external_weights(finished, optimized.parent)
        if precision == "fp32":
            weights = arrange_products(finished, weights, is_for_long_texts=is_for_long_texts)
        elif is_for_long_texts:
            nodes = halve_feed_forward(finished.graph.node, finished.graph)
            del finished.graph.node[:]
            finished.graph.node.extend(nodes)
        write_graph(finished, target, weights)
    write_tensors(target)
    if is_for_long_texts:
        compare_halves(target)


def write_graph(model: onnx.ModelProto, target: Path, weights: Mapping[str, NDArray[Any]] | None = None) -> None:
    """Write a graph and its weights, sorted and aligned to pages, without information about their origin.

    Args:
        model: The graph; it is modified.
        target: Path of the graph.
        weights: Weights whose content is not in the graph, by name. They are not copied in memory, except for one at a
            time that is not contiguous.
    """
    _forget_origin(model)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    given = weights or {}
    for name, array in given.items():
        if name not in tensors:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            tensors[name] = onnx.TensorProto(name=name, data_type=kind, dims=array.shape)
    data = target.name + DATA_SUFFIX
    with target.with_name(data).open("wb") as file:
        for name, tensor in sorted(tensors.items()):
            if name in given:
                content: Any = np.ascontiguousarray(given[name]).reshape(-1).view(np.uint8).data
            else:
                if not tensor.HasField("raw_data") and tensor.data_type != onnx.TensorProto.STRING:
                    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), name))
                content = tensor.raw_data
            if len(content) < _EXTERNAL_SIZE:
                if name in given:
                    tensor.CopyFrom(numpy_helper.from_array(np.asarray(given[name]), name))
                continue
            file.write(bytes(-file.tell() % _PAGE))
            _point_to(tensor, location=data, offset=file.tell(), length=len(content))
            file.write(content)
            tensor.ClearField("raw_data")
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensor for _, tensor in sorted(tensors.items()))
    target.write_bytes(model.SerializeToString(deterministic=True))


def _point_to(tensor: onnx.TensorProto, **place: str | int) -> None:
    """Let a tensor be external, at a place in a file."""
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in place.items():
        tensor.external_data.add(key=key, value=str(value))


def _forget_origin(message: Any) -> None:  # noqa: ANN401 - the messages of ONNX have no common type
    """Remove source files and line numbers that exporters record, at every depth."""
    for field, value in list(message.ListFields()):
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                _forget_origin(one)
