"""Products with weights in two forms: the same numbers from both, and no form for what is not such a product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.support.exported import Exported

pytestmark = pytest.mark.onnx

Weights = dict[str, "NDArray[Any]"]

WIDTH, INNER = 24, 40


def weights() -> Weights:
    numbers = np.random.default_rng(33)
    shapes: dict[str, tuple[int, ...]] = {"table": (50, WIDTH), "up": (WIDTH, INNER), "gate": (WIDTH, INNER)}
    shapes |= {"down": (INNER, WIDTH), "last": (WIDTH, 8), "bias": (INNER,)}
    return {name: numbers.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def some_model(text: str, given: Weights) -> Any:
    """Return a graph of token ids with these nodes, whose weights have no content yet, as after optimising."""
    import onnx
    from onnx import TensorProto, parser

    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1]> {text}')
    for name, array in given.items():
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=array.shape)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        model.graph.initializer.append(tensor)
    return model


LAYER = """
model (int64[batch, tokens] input_ids) => (float[batch, 8] vector) {
    states = Gather (table, input_ids)
    higher = MatMul (states, up)
    gated = MatMul (states, gate)
    mixed = Mul (higher, gated)
    moved = Add (mixed, bias)
    lower = MatMul (moved, down)
    middle = ReduceMean <keepdims = 0> (lower, axis)
    vector = MatMul (middle, last)
}
"""


def layer() -> Any:
    from onnx import numpy_helper

    model = some_model(LAYER, weights())
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axis"))
    return model


def expected(ids: NDArray[Any]) -> NDArray[Any]:
    w = weights()
    states = w["table"][ids]
    lower = ((states @ w["up"]) * (states @ w["gate"]) + w["bias"]) @ w["down"]
    return np.asarray(lower.mean(1) @ w["last"])


def written(model: Any, given: Weights, directory: Path) -> Path:
    from thoth_models_builder.compile.graphs.products import arrange_products
    from thoth_models_builder.compile.graphs.writing import write_graph

    write_graph(model, directory / "model.onnx", arrange_products(model, given))
    return directory / "model.onnx"


def run(path: Path, ids: NDArray[Any]) -> NDArray[Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"input_ids": ids})
    return np.asarray(result)


def branches(model: Any) -> dict[str, Any]:
    """Return the branches of the last node, by the number of tokens that they are for."""
    few, many = (attribute.g for attribute in sorted(model.graph.node[-1].attribute, key=lambda one: -ord(one.name[0])))
    return {"few": few, "many": many}


@pytest.mark.parametrize(("texts", "tokens"), [(1, 1), (1, 7), (4, 5), (1, 128), (8, 16), (1, 129), (16, 12), (3, 300)])
def test_few_tokens_and_many_give_the_numbers_of_the_plain_products(tmp_path: Path, texts: int, tokens: int) -> None:
    ids = np.random.default_rng(1).integers(0, 50, (texts, tokens))
    assert np.allclose(run(written(layer(), weights(), tmp_path), ids), expected(ids), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tokens", [1, 128, 129])
def test_a_run_takes_the_form_for_its_number_of_tokens(tmp_path: Path, tokens: int) -> None:
    import onnx

    path = written(layer(), weights(), tmp_path)
    model = onnx.load(path)
    # Without the content of one form, that form alone gives something else.
    for name, branch in branches(model).items():
        broken = onnx.ModelProto()
        broken.CopyFrom(model)
        other = branches(broken)[name]
        (last,) = (node for node in other.node if node.output[0] == branch.output[0].name)
        last.CopyFrom(onnx.helper.make_node("ConstantOfShape", ["zero"], list(last.output)))
        other.node.insert(len(other.node) - 1, onnx.helper.make_node("Constant", [], ["zero"], value_ints=[2, 8]))
        onnx.save(broken, tmp_path / f"{name}.onnx")
        is_zero = not run(tmp_path / f"{name}.onnx", np.ones((1, tokens), np.int64)).any()
        assert is_zero == ((name == "few") == (tokens <= 128))


def test_weights_are_the_left_operand_for_few_tokens_and_the_right_one_for_many() -> None:
    from thoth_models_builder.compile.graphs.products import arrange_products

    model = layer()
    arrange_products(model, weights())
    places = {
        name: [
            [place in ("up", "gate", "down", "last") for place in node.input]
            for node in branch.node
            if node.op_type == "FusedMatMul"
        ]
        for name, branch in branches(model).items()
    }
    assert places == {"few": [[True, False]] * 4, "many": [[False, True]] * 4}
    # Both gates have the same tokens, which are arranged once.
    assert [node.op_type for node in branches(model)["few"].node].count("Shape") == 3


def test_matrices_are_stored_by_their_outputs(tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    stored = {
        t.name: numpy_helper.to_array(t) for t in onnx.load(written(layer(), weights(), tmp_path)).graph.initializer
    }
    for name, array in weights().items():
        turned = array.T if name in ("up", "gate", "down", "last") else array
        assert np.array_equal(stored[name], turned)


@pytest.mark.parametrize(
    "nodes",
    [
        # a table that is a matrix too
        "states = Gather (table, input_ids) scores = MatMul (states, tied) vector = Gather (tied, input_ids)",
        # in a branch
        """states = Gather (table, input_ids) scores = MatMul (states, tied) all = ReduceSum (scores)
        zero = Constant <value_float = 0.0> () is_more = Greater (all, zero)
        vector = If (is_more) <
            then_branch = a () => (float[x, y, z] one) { one = Gather (tied, input_ids) },
            else_branch = b () => (float[x, y, z] two) { two = Gather (table, input_ids) }
        >""",
        # on the left already
        "states = Gather (table, input_ids) vector = MatMul (tied, states)",
        # weights with weights
        "states = Gather (table, input_ids) tie = MatMul (tied, tied) vector = Add (states, tie)",
    ],
)
def test_a_matrix_that_something_else_reads_stays_as_it_is(nodes: str) -> None:
    from thoth_models_builder.compile.graphs.products import arrange_products

    given = {"table": weights()["table"], "tied": np.eye(WIDTH, dtype=np.float32)}
    model = some_model(
        f"model (int64[batch, tokens] input_ids) => (float[batch, tokens, width] vector) {{ {nodes} }}", given
    )
    before = model.SerializeToString(deterministic=True)
    assert arrange_products(model, given) == given
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.torch
@pytest.mark.parametrize("name", ["wordpiece", "modernbert"])
def test_exported_models_have_both_forms(exported: Callable[[str], Exported], name: str) -> None:
    import onnx

    model = onnx.load(exported(name).directory / "model.onnx", load_external_data=False)
    assert [node.op_type for node in model.graph.node] == ["Size", "LessOrEqual", "If"]
    for branch in branches(model).values():
        assert sum(node.op_type == "FusedMatMul" for node in branch.node) >= 6


@pytest.mark.torch
def test_a_model_without_products_has_no_branches(exported: Callable[[str], Exported]) -> None:
    import onnx

    model = onnx.load(exported("static").directory / "model.onnx", load_external_data=False)
    assert "If" not in [node.op_type for node in model.graph.node]


def test_a_product_of_no_tokens_has_no_results(tmp_path: Path) -> None:
    """A model that looks at the tokens after the third one has none of them in a text of three."""
    from onnx import numpy_helper

    text = """
    model (int64[batch, tokens] input_ids) => (float[batch, 8] vector) {
        every = Gather (table, input_ids)
        rest = Slice (every, three, far, one)
        first = MatMul (every, last)
        second = MatMul (rest, last)
        both = Concat <axis = 1> (first, second)
        vector = ReduceSum <keepdims = 0> (both, one)
    }
    """
    given = {name: array for name, array in weights().items() if name in ("table", "last")}
    model = some_model(text, given)
    for name, value in {"three": 3, "far": 10**6, "one": 1}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array([value]), name))
    path = written(model, given, tmp_path)
    for tokens in (3, 5):
        ids = np.random.default_rng(1).integers(0, 50, (2, tokens))
        states = given["table"][ids]
        whole = np.concatenate([states @ given["last"], states[:, 3:] @ given["last"]], 1).sum(1)
        assert np.allclose(run(path, ids), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.torch
def test_int8_graphs_have_one_form(exported: Callable[[str], Exported], tmp_path: Path) -> None:
    import onnx

    from thoth_models_builder.compile.graphs.writing import finish_graph

    finish_graph(exported("wordpiece").directory / "raw.onnx", tmp_path / "model.onnx", precision="int8")
    assert "If" not in [
        node.op_type for node in onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.node
    ]
