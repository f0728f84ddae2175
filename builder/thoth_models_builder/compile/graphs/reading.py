"""What is known of every graph: its input and output, its external weights, and the names that a node reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import helper
from onnx.external_data_helper import ExternalDataInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

INPUT_NAME: Final = "input_ids"
"""Input of every graph; the other inputs depend on the model."""
OUTPUT_NAME: Final = "sentence_embedding"

_STRIDE: Final = 0.6180339887498949
"""Distance between two tokens, as a share of the vocabulary; the golden ratio spreads any number evenly."""


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
    return set(node.input).union(*(names_read(other) for graph in _subgraphs(node) for other in graph.node))


def tokens_of_all(graph: onnx.GraphProto, shape: tuple[int, int]) -> dict[str, NDArray[np.int64]] | None:
    """Return inputs with tokens drawn evenly from the whole vocabulary, or None if no table has a row for each token.

    Args:
        graph: A graph of token ids. Its other inputs are masks of tokens, of which all count, and types of tokens.
        shape: Batch size and tokens.
    """
    tokens, rows = {INPUT_NAME}, list[int]()
    tables = {tensor.name: tensor for tensor in graph.initializer}
    for node in _every_node(graph.node):
        # Also where unlisted tokens were replaced, or padding was moved.
        if node.op_type in ("Where", "GatherElements") and not tokens.isdisjoint(node.input):
            tokens.add(node.output[0])
        elif node.op_type == "Gather" and node.input[1] in tokens and node.input[0] in tables:
            rows.append(int(tables[node.input[0]].dims[0]))
    if not rows:
        return None
    ids = (np.arange(1, 1 + np.prod(shape)) * _STRIDE % 1 * min(rows)).astype(np.int64).reshape(shape)
    given = {INPUT_NAME: ids, "token_type_ids": np.zeros_like(ids)}
    return {one.name: given.get(one.name, np.ones_like(ids)) for one in graph.input}


def _every_node(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield nodes and those of their subgraphs."""
    for node in nodes:
        yield node
        for graph in _subgraphs(node):
            yield from _every_node(graph.node)


def _subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    inside = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return inside + [graph for attribute in node.attribute for graph in attribute.graphs]
