"""Write products with weights so that onnxruntime computes them quickly without a copy of the weights.

onnxruntime rearranges the right operand of a product, block by block, and reads the left one as it is. By default it
keeps the rearranged weights (prepacking): a second copy, and one that processes cannot share. Without it, a product of
few tokens with weights on the right takes longest over rearranging them.

So each matrix of weights is stored by its outputs, as in a checkpoint, which takes less time to rearrange; and in a run
of few tokens it is the left operand: then the tokens are rearranged, and the result is transposed.
docs/decisions/0033-products-with-weights.md has what was measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from thoth_models_builder.compile.graphs.feed_forward import halve_feed_forward
from thoth_models_builder.compile.graphs.reading import INPUT_NAME, names_read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

FEW_TOKENS: Final = 128
"""Tokens in a run (texts x tokens, with padding) up to which weights are the left operand."""

_DOMAIN: Final = "com.microsoft"
_PREFIX: Final = "products/"
_MATRIX_AXES: Final = 2


def arrange_products(
    model: onnx.ModelProto, weights: Mapping[str, NDArray[Any]], *, is_for_long_texts: bool = False
) -> dict[str, NDArray[Any]]:
    """Write the products of a graph with matrices of weights in two forms, of which a run takes one.

    Args:
        model: A graph of token ids with one output. It is modified, unless it has no such product.
        weights: Its external weights by name.
        is_for_long_texts: Whether feed-forward parts are to be divided in runs of many tokens.

    Returns:
        The weights as the graph expects them afterwards; those that are transposed are views.
    """
    graph = model.graph
    products = _products(graph, weights)
    if not products:
        return dict(weights)
    matrices = {node.input[1] for node in products.values()}
    few, many = list[onnx.NodeProto](), list[onnx.NodeProto]()
    made: set[str] = set()
    for node in graph.node:
        if node.output[0] not in products:
            few.append(node)
            many.append(node)
            continue
        # Products of the same tokens, as of queries and keys, have their first nodes in common.
        new = [one for one in _weights_on_the_left(node, weights) if one.output[0] not in made]
        made.update(one.output[0] for one in new)
        few += new
        many.append(_weights_on_the_right(node))
    for tensor in graph.initializer:
        if tensor.name in matrices:
            tensor.dims[:] = weights[tensor.name].shape[::-1]
    if is_for_long_texts:
        many = halve_feed_forward(many, graph)
    (output,) = graph.output
    branches = {"then_branch": _branch("few", few, output), "else_branch": _branch("many", many, output)}
    tokens, limit, is_few = (f"{_PREFIX}{name}" for name in ("tokens", "limit", "is_few"))
    del graph.node[:]
    graph.node.extend(
        [
            helper.make_node("Size", [INPUT_NAME], [tokens]),
            helper.make_node("LessOrEqual", [tokens, limit], [is_few]),
            helper.make_node("If", [is_few], [output.name], **branches),
        ]
    )
    graph.initializer.append(numpy_helper.from_array(np.array(FEW_TOKENS), limit))
    for length in {length for name in matrices for length in weights[name].shape}:
        graph.initializer.append(numpy_helper.from_array(np.array([length]), _side(length)))
        graph.initializer.append(numpy_helper.from_array(np.array([-1, length]), _rows(length)))
    if all(opset.domain != _DOMAIN for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return {name: array.T if name in matrices else array for name, array in weights.items()}


def _products(graph: onnx.GraphProto, weights: Mapping[str, NDArray[Any]]) -> dict[str, onnx.NodeProto]:
    """Return the products of tokens with matrices that only such products read, by the name of their result."""
    matrices = {name for name, array in weights.items() if array.ndim == _MATRIX_AXES and array.dtype == np.float32}
    found = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in matrices and node.input[0] not in weights
    }
    others = (node for node in graph.node if node.output[0] not in found)
    read_elsewhere = {output.name for output in graph.output}.union(*map(names_read, others))
    return {name: node for name, node in found.items() if node.input[1] not in read_elsewhere}


def _weights_on_the_right(node: onnx.NodeProto) -> onnx.NodeProto:
    """Return the node of a product for many tokens."""
    return helper.make_node("FusedMatMul", node.input, node.output, domain=_DOMAIN, transB=1)


def _weights_on_the_left(node: onnx.NodeProto, weights: Mapping[str, NDArray[Any]]) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a product for few tokens; the names of the first three depend on the tokens alone."""
    (states, matrix), (result,) = node.input, node.output
    inputs, outputs = weights[matrix].shape
    rows, sides = f"{_PREFIX}{states}/rows", f"{_PREFIX}{states}/sides"
    shape, product, transposed = f"{sides}/{outputs}", f"{_PREFIX}{result}/product", f"{_PREFIX}{result}/transposed"
    # All texts below each other, as a product of two matrices is needed; the sides of their batch are kept.
    yield helper.make_node("Reshape", [states, _rows(inputs)], [rows])
    yield helper.make_node("Shape", [states], [sides], end=-1)
    yield helper.make_node("Concat", [sides, _side(outputs)], [shape], axis=0)
    yield helper.make_node("FusedMatMul", [matrix, rows], [product], domain=_DOMAIN, transB=1)
    yield helper.make_node("Transpose", [product], [transposed], perm=[1, 0])
    # A 0 in the shape is a side of no tokens, not a side of `transposed`.
    yield helper.make_node("Reshape", [transposed, shape], [result], allowzero=1)


def _side(length: int) -> str:
    """Return the name of the constant ``[length]``, the last side of a shape."""
    return f"{_PREFIX}side/{length}"


def _rows(length: int) -> str:
    """Return the name of the constant ``[-1, length]``, the shape of rows of that length."""
    return f"{_PREFIX}rows/{length}"


def _branch(name: str, nodes: list[onnx.NodeProto], output: onnx.ValueInfoProto) -> onnx.GraphProto:
    """Return a branch with copies of these nodes, whose output has a name that the graph around it does not have."""
    inner = onnx.ValueInfoProto()
    inner.CopyFrom(output)
    inner.name = f"{_PREFIX}{output.name}"
    branch = helper.make_graph(nodes, name, [], [inner])
    for node in branch.node:
        _rename(node, output.name, inner.name)
    return branch


def _rename(node: onnx.NodeProto, old: str, new: str) -> None:
    """Rename a value in a node and in its branches."""
    for names in (node.input, node.output):
        for place, name in enumerate(names):
            if name == old:
                names[place] = new
    for attribute in node.attribute:
        for inside in attribute.g.node:
            _rename(inside, old, new)
