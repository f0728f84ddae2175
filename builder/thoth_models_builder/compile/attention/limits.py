"""The numbers of tokens at which the attention of a graph changes, read from the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onnx import GraphProto, ModelProto, NodeProto


def limits_of(model: ModelProto) -> set[int]:
    """Return each number of tokens above which other nodes run, or some tokens are outside of a window.

    Args:
        model: A graph whose attention was replaced by
            :func:`~thoth_models_builder.compile.attention.nodes.expand`; any other has no limits.
    """
    nodes = list(_nodes(model.graph))
    producers = {output: node for node in nodes for output in node.output}
    windows = {one.i for node in nodes for one in node.attribute if one.name == "local_window_size" and one.i > 0}
    tests = (producers.get(node.input[0]) for node in nodes if node.op_type == "If")
    return windows.union(
        *(_constants(test.input[1], producers) for test in tests if test is not None and test.op_type == "LessOrEqual")
    )


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield the nodes of a graph and of the graphs inside of them, whose names are all different."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _constants(name: str, producers: Mapping[str, NodeProto]) -> set[int]:
    """Return the integers that a value is chosen from."""
    node = producers.get(name)
    if node is None or node.op_type not in {"Constant", "Min", "Where"}:
        return set()
    if node.op_type == "Constant":
        return {number for one in node.attribute for number in (one.ints or [one.i])}
    return {number for given in node.input for number in _constants(given, producers)}
