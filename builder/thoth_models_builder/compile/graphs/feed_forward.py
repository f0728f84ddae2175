"""Compute the feed-forward part of a layer for one half of a long text after the other, which takes less memory.

Between its two products with weights, a feed-forward part holds vectors several times as long as those between layers,
of all tokens, and twice: before and after the activation function. That is the most memory that a run takes for one
long text, because attention is computed in blocks (docs/decisions/0032-long-texts.md). What is computed there
depends on one token at a time, so that the halves give the same vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from thoth_models_builder.compile.errors import NotExportableError
from thoth_models_builder.compile.graphs.reading import names_read, tokens_of_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

UNDIVIDED_TOKENS: Final = 1_024
"""Tokens of a text up to which it is not divided; the second half is then empty."""

_PREFIX: Final = "halves/"
_LIMIT: Final = f"{_PREFIX}limit"
_COMPARED: Final = (3, 47)
"""Texts and tokens with which a graph is compared: an odd number, and enough tokens for the form for many."""
_TOLERANCE: Final = 1e-5
"""Largest difference relative to the largest component of a vector; usually, there is none."""
_PRODUCTS: Final = frozenset({"MatMul", "FusedMatMul", "MatMulIntegerToFloat"})
_BY_NUMBER: Final = frozenset(
    {
        *("Add", "Cast", "Clip", "Div", "Elu", "Erf", "FastGelu", "Gelu", "Identity", "LeakyRelu", "Max", "Min", "Mul"),
        *("Neg", "Pow", "QuantizeLinear", "QuickGelu", "Relu", "Sigmoid", "Softplus", "Sqrt", "Sub", "Tanh"),
    }
)
"""Operators that compute each number by itself, apart from constants that are the same for all tokens."""
_AXES: Final = 3
"""Input of a slice that has its axes."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A feed-forward part: nodes in the order of the graph, the one value that they start from, and their result."""

    nodes: tuple[onnx.NodeProto, ...]
    states: str
    result: str


def halve_feed_forward(nodes: Sequence[onnx.NodeProto], graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return nodes that compute the same, with the feed-forward parts for half of the tokens at a time.

    Args:
        nodes: Nodes of a graph or of a branch, in an order in which they can be run.
        graph: The graph with its constants; those that the returned nodes read besides are added.
    """
    parts: dict[int, _Part] = {}
    divided: set[int] = set()
    # The last ones first: of more than two products in a row, a part holds the parts that end before it.
    for part in reversed(list(_Nodes(nodes, graph).parts())):
        if id(part.nodes[-1]) not in divided:
            parts[id(part.nodes[-1])] = part
            divided.update(map(id, part.nodes))
    found: list[onnx.NodeProto] = []
    for node in nodes:
        if id(node) in parts:
            found += _divided(parts[id(node)])
        elif id(node) not in divided:
            found.append(node)
    if parts:
        constants = {_LIMIT: UNDIVIDED_TOKENS, f"{_PREFIX}one": 1, f"{_PREFIX}two": 2}
        graph.initializer.extend(numpy_helper.from_array(np.array([value]), name) for name, value in constants.items())
    return found


def compare_halves(path: Path) -> None:
    """Refuse a graph whose vectors by halves differ from those that it has in one piece.

    Golden vectors do not suffice: the text that is long enough repeats ten words, so that the mean of its tokens
    remains nearly the same if the halves are mixed up.

    Args:
        path: The finished graph, beside its weights.

    Raises:
        NotExportableError: The vectors differ, or the graph cannot be run.
    """
    graph = onnx.load(path, load_external_data=False).graph
    if all(tensor.name != _LIMIT for tensor in graph.initializer):
        return
    feeds = tokens_of_all(graph, _COMPARED)
    if feeds is None:
        raise NotExportableError("feed-forward by halves: expected a table that input_ids indexes, found none")
    try:
        expected, found = (_vectors(path, feeds, limit) for limit in (2**62, 1))
    except Exception as error:  # onnxruntime has no common error class for errors of kernels
        raise NotExportableError(f"feed-forward by halves: the graph cannot be run: {error}") from error
    difference = np.abs(found - expected).max()
    if not difference <= _TOLERANCE * np.abs(expected).max():
        raise NotExportableError(
            f"feed-forward by halves: expected the same vectors, found a difference of {difference:.2g}"
        )


def _vectors(path: Path, feeds: dict[str, NDArray[np.int64]], limit: int) -> NDArray[np.float32]:
    """Return the vectors of a graph if texts up to ``limit`` are not divided."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")
    # It has to exist as long as the session.
    value = onnxruntime.OrtValue.ortvalue_from_numpy(np.array([limit]))
    options.add_initializer(_LIMIT, value)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    (vectors,) = session.run(None, feeds)
    return np.asarray(vectors)


class _Nodes:
    """Nodes, with what makes and what reads each value."""

    def __init__(self, nodes: Sequence[onnx.NodeProto], graph: onnx.GraphProto) -> None:
        self._nodes = nodes
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in nodes for name in node.output}
        self._results = {output.name for output in graph.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in nodes:
            for name in names_read(node):
                self._readers.setdefault(name, []).append(node)

    def parts(self) -> Iterator[_Part]:
        """Yield the feed-forward parts: from products with weights that widen vectors to one that narrows them."""
        for node in self._nodes:
            inputs, outputs = self._sides(node)
            if inputs > outputs:
                part = self._part(node)
                if part is not None:
                    yield part

    def _part(self, narrowing: onnx.NodeProto) -> _Part | None:
        """Return the part that ends with a narrowing product, if all before it depends on one value, token by token."""
        inside, starts, waiting = {id(narrowing)}, set[str](), self._values(narrowing)
        is_wide = False
        while waiting:
            name = waiting.pop()
            maker = self._makers.get(name)
            if maker is None or not self._is_by_token(maker):
                starts.add(name)
            elif id(maker) not in inside:
                inside.add(id(maker))
                waiting += self._values(maker)
                inputs, outputs = self._sides(maker)
                is_wide |= inputs < outputs
        if not is_wide or len(starts) != 1:
            return None
        result = narrowing.output[0]
        following = self._readers.get(result, [])
        if len(following) == 1 and self._is_by_token(following[0]):
            # In int8, a product is followed by the scale of its tokens, which was computed inside.
            others = [self._makers.get(name) for name in self._values(following[0]) if name != result]
            if others and all(other is not None and id(other) in inside for other in others):
                inside.add(id(following[0]))
                result = following[0].output[0]
        members = tuple(node for node in self._nodes if id(node) in inside)
        read_outside = [
            name
            for node in members
            for name in node.output
            if name in self._results or any(id(reader) not in inside for reader in self._readers.get(name, []))
        ]
        return _Part(members, starts.pop(), result) if read_outside == [result] else None

    def _sides(self, node: onnx.NodeProto) -> tuple[int, int]:
        """Return how long the vectors are that a product with a matrix of weights reads and writes, or zeros."""
        if node.op_type not in _PRODUCTS or node.input[0] in self._constants or node.input[1] not in self._constants:
            return 0, 0
        flags = {attribute.name for attribute in node.attribute if attribute.name.startswith("trans") and attribute.i}
        sides = tuple(self._constants[node.input[1]].dims)
        if len(sides) != 2 or flags - {"transB"}:  # noqa: PLR2004 - a matrix
            return 0, 0
        return sides[::-1] if flags else sides

    def _is_by_token(self, node: onnx.NodeProto) -> bool:
        """Return whether a node computes the vector of each token from that of the same token."""
        if node.op_type in _PRODUCTS:
            return self._sides(node) != (0, 0)
        if node.op_type in _BY_NUMBER:
            # The same constants for all tokens.
            return all(
                math.prod(self._constants[name].dims[:-1]) == 1 for name in node.input if name in self._constants
            )
        return bool(node.input) and node.input[0] not in self._constants and self._is_along_vectors(node)

    def _is_along_vectors(self, node: onnx.NodeProto) -> bool:
        """Return whether a node that is no product takes something from each vector, or how long vectors are."""
        kind, flags = node.op_type, {attribute.name: attribute.i for attribute in node.attribute}
        if kind in ("ReduceMax", "ReduceMin"):
            # Without the last axis, that of the tokens would be the last one.
            keeps_axes = bool(flags.get("keepdims", 1))
            return keeps_axes and len(node.input) == 2 and self._is_last(node.input[1])  # noqa: PLR2004 - data and axes
        if kind == "Slice":
            return len(node.input) > _AXES and self._is_last(node.input[_AXES])
        if kind == "Shape":
            # The last of all sides is the same for the halves; of some of them, the last may be the number of tokens.
            return not any(flags.values()) and all(reader.op_type == "Gather" for reader in self._readers_of(node))
        maker = self._makers.get(node.input[0])
        return kind == "Gather" and maker is not None and maker.op_type == "Shape" and self._is_last(node.input[1])

    def _readers_of(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        return [reader for name in node.output for reader in self._readers.get(name, [])]

    def _is_last(self, name: str) -> bool:
        """Return whether a constant is the number of the last axis, counted from the end."""
        tensor = self._constants.get(name)
        return tensor is not None and numpy_helper.to_array(tensor).reshape(-1).tolist() == [-1]

    def _values(self, node: onnx.NodeProto) -> list[str]:
        """Return the inputs of a node that are no constants."""
        return [name for name in node.input if name and name not in self._constants]


def _divided(part: _Part) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that compute a part for the first half of the tokens, then for the second."""
    tokens, is_long, share, first, second, sizes = (
        f"{_PREFIX}{part.result}/{name}" for name in ("tokens", "is_long", "share", "first", "second", "sizes")
    )
    yield helper.make_node("Shape", [part.states], [tokens], start=-2, end=-1)
    yield helper.make_node("Greater", [tokens, _LIMIT], [is_long])
    yield helper.make_node("Where", [is_long, f"{_PREFIX}two", f"{_PREFIX}one"], [share])
    yield helper.make_node("Div", [tokens, share], [first])
    yield helper.make_node("Sub", [tokens, first], [second])
    yield helper.make_node("Concat", [first, second], [sizes], axis=0)
    halves = [f"{_PREFIX}{part.result}/{half}/" for half in ("first", "second")]
    yield helper.make_node("Split", [part.states, sizes], [half + part.states for half in halves], axis=-2)
    inside = {part.states}.union(*(node.output for node in part.nodes))
    for half in halves:
        for node in part.nodes:
            new = onnx.NodeProto()
            new.CopyFrom(node)
            new.ClearField("name")
            new.input[:] = [half + name if name in inside else name for name in node.input]
            new.output[:] = [half + name for name in node.output]
            yield new
    yield helper.make_node("Concat", [half + part.result for half in halves], [part.result], axis=-2)
