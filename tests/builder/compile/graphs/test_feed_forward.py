"""Feed-forward parts by halves: the same vectors, for what depends on one token at a time, and for nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.support.exported import Exported

pytestmark = pytest.mark.onnx

WIDTH, INNER = 8, 12
HEAD = "model (int64[batch, tokens] input_ids) => (float[batch, tokens, width] vector)"
PLAIN = "high = MatMul (states, up) moved = Add (high, bias) bent = Relu (moved) low = MatMul (bent, down)"


def constants() -> dict[str, NDArray[Any]]:
    numbers = np.random.default_rng(8)
    shapes: dict[str, tuple[int, ...]] = {"table": (50, WIDTH), "up": (WIDTH, INNER), "gate": (WIDTH, INNER)}
    shapes |= {
        "down": (INNER, WIDTH),
        "twice_up": (WIDTH, 2 * INNER),
        "between": (2 * INNER, INNER),
        "square": (WIDTH, WIDTH),
        "level": (INNER, INNER),
        "bias": (INNER,),
        "by_token": (7, 1),
        "wide_row": (1, INNER),
        "turned_up": (7, INNER),
        "stacked": (1, INNER, INNER),
    }
    floats = {name: numbers.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    whole = {"last": -1, "middle": 1, "nought": 0, "one": 1, "two": 2, "six": 6}
    return floats | {"down_turned": floats["down"].T} | {name: np.array([value]) for name, value in whole.items()}


def some_model(nodes: str) -> Any:
    """Return a graph of token ids with these nodes between ``states``, the vectors of the tokens, and ``vector``."""
    from onnx import numpy_helper, parser

    opsets = '<ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1]>'
    model = parser.parse_model(f"{opsets} {HEAD} {{ states = Gather (table, input_ids) {nodes} }}")
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants().items())
    return model


def halved(model: Any) -> Any:
    """Return the graph by halves."""
    import onnx

    from thoth_models_builder.compile.graphs.feed_forward import halve_feed_forward

    made = onnx.ModelProto()
    made.CopyFrom(model)
    nodes = halve_feed_forward(list(made.graph.node), made.graph)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def run(model: Any, ids: NDArray[Any]) -> NDArray[Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"input_ids": ids})
    return np.asarray(result)


def count(nodes: Any) -> int:
    """Return how many parts are divided."""
    return sum(node.op_type == "Split" and node.output[0].startswith("halves/") for node in nodes)


DIVIDED = {
    "plain": f"{PLAIN} vector = Add (low, states)",
    "twice": f"""{PLAIN} norm = LpNormalization (low) high_2 = MatMul (norm, up) low_2 = MatMul (high_2, down)
        vector = Add (low_2, norm)""",
    "from the same states": f"""{PLAIN} high_2 = MatMul (states, gate) low_2 = MatMul (high_2, down)
        vector = Add (low, low_2)""",
    "gated": """high = MatMul (states, up) open = MatMul (states, gate) bent = Sigmoid (open) both = Mul (high, bent)
        low = MatMul (both, down) vector = Identity (low)""",
    "gated by one product": """high = MatMul (states, twice_up) sides = Shape (high) length = Gather (sides, last)
        half = Div (length, two) first = Slice (high, nought, half, last) second = Slice (high, half, length, last)
        both = Mul (first, second) low = MatMul (both, down)
        vector = Identity (low)""",
    "stored by outputs": """high = MatMul (states, up) low = com.microsoft.FusedMatMul <transB = 1> (high, down_turned)
        vector = Identity (low)""",
    "with a scale of each token": """largest = ReduceMax (states, last) even = Div (states, largest)
        high = MatMul (even, up) low = MatMul (high, down) vector = Mul (low, largest)""",
    "three products": """high = MatMul (states, twice_up) less = MatMul (high, between) low = MatMul (less, down)
        vector = Identity (low)""",
    "of texts": """sums = ReduceSum <keepdims = 0> (states, middle) high = MatMul (sums, up) low = MatMul (high, down)
        vector = Unsqueeze (low, middle)""",
}
"""Nodes of feed-forward parts."""


@pytest.mark.parametrize("name", DIVIDED)
@pytest.mark.parametrize(("texts", "tokens"), [(1, 1), (2, 3), (3, 4), (1, 5), (2, 8), (5, 2), (0, 5), (2, 0)])
def test_the_halves_give_the_same_vectors(name: str, texts: int, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from thoth_models_builder.compile.graphs import feed_forward

    monkeypatch.setattr(feed_forward, "UNDIVIDED_TOKENS", 3)
    model = some_model(DIVIDED[name])
    made = halved(model)
    assert count(made.graph.node) == {"twice": 2, "from the same states": 2}.get(name, 1)
    ids = np.random.default_rng(tokens).integers(0, 50, (texts, tokens))
    assert np.allclose(run(made, ids), run(model, ids), rtol=1e-6, atol=1e-6)


def test_only_texts_beyond_the_limit_are_divided() -> None:
    """The two halves of a text, by the numbers of tokens in them."""
    import onnx

    from thoth_models_builder.compile.graphs.feed_forward import UNDIVIDED_TOKENS

    made = halved(some_model(DIVIDED["plain"]))
    (split,) = (node for node in made.graph.node if node.op_type == "Split")
    sizes = onnx.helper.make_tensor_value_info(split.input[1], onnx.TensorProto.INT64, [2])
    made.graph.output[0].CopyFrom(sizes)
    for halves in ([1, 0], [UNDIVIDED_TOKENS, 0], [UNDIVIDED_TOKENS // 2, UNDIVIDED_TOKENS // 2 + 1]):
        assert run(made, np.ones((1, sum(halves)), np.int64)).tolist() == halves


@pytest.fixture
def swaps_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second half of the vectors comes first."""
    from thoth_models_builder.compile.graphs import feed_forward

    right = feed_forward._divided

    def divided(part: Any) -> list[Any]:
        *nodes, last = right(part)
        last.input[:] = list(last.input)[::-1]
        return [*nodes, last]

    monkeypatch.setattr(feed_forward, "_divided", divided)


def test_a_graph_that_is_the_same_by_halves_is_accepted(tmp_path: Path) -> None:
    import onnx

    from thoth_models_builder.compile.graphs.feed_forward import _COMPARED, compare_halves
    from thoth_models_builder.compile.graphs.products import FEW_TOKENS

    assert np.prod(_COMPARED) > FEW_TOKENS
    for nodes in (DIVIDED["plain"], "vector = Identity (states)"):
        onnx.save(halved(some_model(nodes)), tmp_path / "model.onnx")
        compare_halves(tmp_path / "model.onnx")


@pytest.mark.usefixtures("swaps_halves")
def test_a_graph_that_is_another_by_halves_is_refused(tmp_path: Path) -> None:
    import onnx

    from thoth_models_builder.compile.errors import NotExportableError
    from thoth_models_builder.compile.graphs.feed_forward import compare_halves

    onnx.save(halved(some_model(DIVIDED["plain"])), tmp_path / "model.onnx")
    with pytest.raises(NotExportableError, match="expected the same vectors, found a difference of"):
        compare_halves(tmp_path / "model.onnx")


@pytest.mark.torch
@pytest.mark.usefixtures("swaps_halves")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_finished_graph_is_compared(exported: Callable[[str], Exported], precision: str, tmp_path: Path) -> None:
    from thoth_models_builder.compile.errors import NotExportableError
    from thoth_models_builder.compile.graphs.writing import finish_graph

    raw = exported("wordpiece").directory / "raw.onnx"
    with pytest.raises(NotExportableError, match="feed-forward by halves"):
        finish_graph(raw, tmp_path / "model.onnx", precision=precision, is_for_long_texts=True)


def test_a_graph_without_a_table_of_tokens_cannot_be_compared(tmp_path: Path) -> None:
    import onnx

    from thoth_models_builder.compile.errors import NotExportableError
    from thoth_models_builder.compile.graphs.feed_forward import compare_halves

    made = halved(some_model(DIVIDED["plain"]))
    made.graph.node[0].input[:] = ["no_table", "input_ids"]
    onnx.save(made, tmp_path / "model.onnx")
    with pytest.raises(NotExportableError, match="expected a table that input_ids indexes"):
        compare_halves(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "nodes",
    [
        # no wider inside
        "high = MatMul (states, square) low = MatMul (high, square) vector = Identity (low)",
        "high = MatMul (states, up) same = MatMul (high, level) vector = Identity (same)",
        # a mixture of tokens
        """high = MatMul (states, up) turned = Transpose <perm = [0, 2, 1]> (high) mixed = Softmax <axis = -1> (turned)
        back = Transpose <perm = [0, 2, 1]> (mixed) low = MatMul (back, down) vector = Identity (low)""",
        # one number for all tokens
        """high = MatMul (states, up) largest = ReduceMax (high, middle) even = Div (high, largest)
        low = MatMul (even, down) vector = Identity (low)""",
        # the same, without the axis of the vectors
        """high = MatMul (states, up) largest = ReduceMax <keepdims = 0> (high, last) even = Div (high, largest)
        low = MatMul (even, down) vector = Identity (low)""",
        # one number for all texts
        """high = MatMul (states, up) largest = ReduceMax (high) even = Div (high, largest)
        low = MatMul (even, down) vector = Identity (low)""",
        # a number for each token, out of a constant
        """high = MatMul (states, up) largest = ReduceMax (by_token, last) even = Div (high, largest)
        low = MatMul (even, down) vector = Identity (low)""",
        """high = MatMul (states, up) first = Slice (turned_up, nought, one, last) even = Div (high, first)
        low = MatMul (even, down) vector = Identity (low)""",
        # the vector of one token for all
        """high = MatMul (states, up) end = Gather <axis = 1> (high, last) moved = Add (high, end)
        low = MatMul (moved, down) vector = Identity (low)""",
        # the first texts
        """high = MatMul (states, up) rest = Slice (high, nought, six) low = MatMul (rest, down)
        vector = Identity (low)""",
        # the tokens after the first
        """high = MatMul (states, up) rest = Slice (high, nought, six, middle) low = MatMul (rest, down)
        vector = Identity (low)""",
        # how many tokens there are
        """high = MatMul (states, up) sides = Shape (high) length = Gather (sides, middle)
        number = Cast <to = 1> (length) even = Div (high, number) low = MatMul (even, down) vector = Identity (low)""",
        # the same, as the last of some of the sides
        """high = MatMul (states, up) sides = Shape <end = -1> (high) length = Gather (sides, last)
        number = Cast <to = 1> (length) even = Div (high, number) low = MatMul (even, down) vector = Identity (low)""",
        """high = MatMul (states, up) sides = Shape <start = 1, end = 2> (high) length = Gather (sides, last)
        number = Cast <to = 1> (length) even = Div (high, number) low = MatMul (even, down) vector = Identity (low)""",
        # the shape as a value
        """high = MatMul (states, up) sides = Shape (high) number = Cast <to = 1> (sides)
        even = Div (high, number) low = MatMul (even, down) vector = Identity (low)""",
        # a constant for each token
        "high = MatMul (states, up) even = Mul (high, by_token) low = MatMul (even, down) vector = Identity (low)",
        # products that mix tokens, or whose weights are no matrix
        """high = MatMul (states, up) mixed = com.microsoft.FusedMatMul <transA = 1> (high, turned_up)
        low = MatMul (mixed, down) vector = Identity (low)""",
        """high = MatMul (states, up) higher = MatMul (high, stacked) low = MatMul (higher, down)
        vector = Identity (low)""",
        # a product of constants
        """high = MatMul (states, up) each = MatMul (by_token, wide_row) all = Mul (high, each) low = MatMul (all, down)
        vector = Identity (low)""",
        # a node without inputs
        """high = MatMul (states, up) half = Constant <value_float = 0.5> () less = Mul (high, half)
        low = MatMul (less, down) vector = Identity (low)""",
        # what follows mixes tokens, and reads what is inside
        """largest = ReduceMax (states, last) even = Div (states, largest) high = MatMul (even, up)
        low = MatMul (high, down) vector = Concat <axis = 1> (low, even)""",
        # another value
        """high = MatMul (states, up) other = Softmax <axis = 1> (states) open = MatMul (other, gate)
        both = Mul (high, open) low = MatMul (both, down) vector = Identity (low)""",
        # read elsewhere as well
        """high = MatMul (states, up) low = MatMul (high, down) mean = ReduceMean <keepdims = 1> (high, last)
        vector = Add (low, mean)""",
        # a result of the graph
        "vector = MatMul (states, up) low = MatMul (vector, down) unread = Identity (low)",
        # in a branch
        """high = MatMul (states, up) low = MatMul (high, down) all = ReduceSum <keepdims = 0> (low)
        zero = Constant <value_float = 0.0> () is_more = Greater (all, zero)
        vector = If (is_more) <
            then_branch = a () => (float[x, y, z] one) { one = Identity (high) },
            else_branch = b () => (float[x, y, z] two) { two = Identity (low) }
        >""",
    ],
)
def test_what_is_no_feed_forward_part_stays_as_it_is(nodes: str) -> None:
    model = some_model(nodes)
    assert halved(model).SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)


@pytest.mark.torch
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", ["wordpiece", "qwen3", "modernbert"])
def test_every_layer_of_exported_models_is_divided(
    exported: Callable[[str], Exported], name: str, precision: str, tmp_path: Path
) -> None:
    import onnx

    from thoth_models_builder.compile.graphs.writing import finish_graph
    from thoth_models_builder.compile.quantize import quantize_graph

    model = exported(name)
    raw = model.directory / "raw.onnx"
    if precision == "int8":
        quantize_graph(raw, tmp_path / "int8.onnx")
        raw = tmp_path / "int8.onnx"
    finish_graph(raw, tmp_path / "model.onnx", precision=precision, is_for_long_texts=True)
    graph = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph
    branches = {attribute.name: attribute.g.node for attribute in graph.node[-1].attribute if attribute.HasField("g")}
    assert count(branches.get("then_branch", [])) == 0
    layers = json.loads((model.model.directory / "config.json").read_text())["num_hidden_layers"]
    assert count(branches.get("else_branch", graph.node)) == layers
