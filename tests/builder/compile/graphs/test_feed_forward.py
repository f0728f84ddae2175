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
        "square": (WIDTH, WIDTH),
        "bias": (INNER,),
        "by_token": (7, 1),
    }
    floats = {name: numbers.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    whole = {"last": -1, "middle": 1, "nought": 0, "two": 2, "six": 6}
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
}
"""Nodes of feed-forward parts."""


@pytest.mark.parametrize("name", DIVIDED)
@pytest.mark.parametrize(("texts", "tokens"), [(1, 1), (2, 3), (3, 4), (1, 5), (2, 8)])
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


@pytest.mark.parametrize(
    "nodes",
    [
        # no wider inside
        "high = MatMul (states, square) low = MatMul (high, square) vector = Identity (low)",
        # a mixture of tokens
        """high = MatMul (states, up) turned = Transpose <perm = [0, 2, 1]> (high) mixed = Softmax <axis = -1> (turned)
        back = Transpose <perm = [0, 2, 1]> (mixed) low = MatMul (back, down) vector = Identity (low)""",
        # one number for all tokens
        """high = MatMul (states, up) largest = ReduceMax (high, middle) even = Div (high, largest)
        low = MatMul (even, down) vector = Identity (low)""",
        # the tokens after the first
        """high = MatMul (states, up) rest = Slice (high, nought, six, middle) low = MatMul (rest, down)
        vector = Identity (low)""",
        # how many tokens there are
        """high = MatMul (states, up) sides = Shape (high) length = Gather (sides, middle)
        number = Cast <to = 1> (length) even = Div (high, number) low = MatMul (even, down) vector = Identity (low)""",
        # the shape as a value
        """high = MatMul (states, up) sides = Shape <start = -1> (high) number = Cast <to = 1> (sides)
        even = Div (high, number) low = MatMul (even, down) vector = Identity (low)""",
        # a constant for each token
        "high = MatMul (states, up) even = Mul (high, by_token) low = MatMul (even, down) vector = Identity (low)",
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
