"""What is known of every graph: its input and output, its external weights, and the names that a node reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import helper
from onnx.external_data_helper import ExternalDataInfo

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

INPUT_NAME: Final = "input_ids"
"""Input of every graph; the other inputs depend on the model."""
OUTPUT_NAME: Final = "sentence_embedding"


def external_weights(model: onnx.ModelProto, directory: Path) -> dict[str, NDArray[Any]]:
    """Return the external weights of a graph by name, as views of their files.

    Args:
        model: The graph, loaded without its external weights; each has the length of its data.
        directory: Directory of the graph.
    """
    files: dict[str, NDArray[np.uint8]] = {}
    weights: dict[str, NDArray[Any]] = {}
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            place: Any = ExternalDataInfo(tensor)
            if place.location not in files:
                files[place.location] = np.memmap(directory / place.location, np.uint8, "r")
            start = place.offset or 0
            data = files[place.location][start : start + place.length]
            weights[tensor.name] = data.view(helper.tensor_dtype_to_np_dtype(tensor.data_type)).reshape(tensor.dims)
    return weights


def names_read(node: onnx.NodeProto) -> set[str]:
    """Return the names that a node reads, and those that its subgraphs read at any depth, their own values included."""
    inside = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    inside += [graph for attribute in node.attribute for graph in attribute.graphs]
    return set(node.input).union(*(names_read(other) for graph in inside for other in graph.node))
