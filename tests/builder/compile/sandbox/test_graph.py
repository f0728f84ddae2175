"""A graph from a confined process names no file but its own, and no operators of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from thoth_models_builder.compile.errors import SandboxError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.onnx


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A graph with one external tensor, and one in a branch."""
    import onnx
    from onnx import TensorProto, helper

    def external(name: str) -> onnx.TensorProto:
        tensor = onnx.TensorProto(name=name, data_type=TensorProto.FLOAT, dims=(4,))
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": "model.onnx.data", "offset": "0", "length": "16"}.items():
            tensor.external_data.add(key=key, value=value)
        return tensor

    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, (4,))
    vectors = helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, (4,))
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, (1, 4))
    branch = helper.make_graph(
        [helper.make_node("Identity", ["inner"], ["out"])], "branch", [], [out], [external("inner")]
    )
    condition = helper.make_tensor_value_info("condition", TensorProto.BOOL, ())
    node = helper.make_node("If", ["condition"], ["sentence_embedding"], then_branch=branch, else_branch=branch)
    whole = helper.make_graph([node], "whole", [ids, condition], [vectors], [external("outer")])
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(whole, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString())
    path.with_name("model.onnx.data").write_bytes(bytes(16))
    return path


def changed(path: Path, change: Any) -> Path:
    import onnx

    model = onnx.load_model(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def check(path: Path) -> None:
    from thoth_models_builder.compile.sandbox.graph import check_graph

    check_graph(path)


def set_place(tensor: Any, key: str, value: str) -> None:
    next(entry for entry in tensor.external_data if entry.key == key).value = value


def inner(model: Any) -> Any:
    return model.graph.node[0].attribute[0].g.initializer[0]


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda model: model.graph.output.pop(), "found condition, input_ids and none"),
        (lambda model: model.graph.output.append(model.graph.input[1]), "input_ids and condition, sentence_embedding"),
        (lambda model: model.graph.input.pop(0), "found condition and sentence_embedding"),
    ],
)
def test_a_graph_of_something_else_is_refused(graph: Path, change: Any, found: str) -> None:
    with pytest.raises(SandboxError, match=found):
        check(changed(graph, change))


def test_its_own_weights_are_accepted(graph: Path) -> None:
    check(graph)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("location", "../../../etc/passwd"),
        ("location", "/etc/passwd"),
        ("offset", "8"),
        ("length", "17"),
        ("offset", "-1"),
    ],
)
def test_a_graph_that_names_another_file_is_refused_at_any_depth(graph: Path, key: str, value: str) -> None:
    data = graph.read_bytes()
    for tensor_of in (lambda model: model.graph.initializer[0], inner):
        graph.write_bytes(data)
        changed(graph, lambda model, tensor_of=tensor_of: set_place(tensor_of(model), key, value))
        with pytest.raises(SandboxError, match=r"expected weights in model\.onnx\.data, found"):
            check(graph)


def of_runtime(graph: Any, kind: str, domain: str = "com.microsoft") -> None:
    graph.node[-1].domain, graph.node[-1].op_type = domain, kind


def branch(model: Any) -> Any:
    return model.graph.node[0].attribute[0].g


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda model: model.opset_import.add(domain="com.example", version=1), r"com\.example"),
        # Domains that a runtime adds by itself, without an import.
        (lambda model: of_runtime(model.graph, "If", "ai.onnx.contrib"), r"ai\.onnx\.contrib\.If"),
        (lambda model: of_runtime(branch(model), "EPContext"), r"com\.microsoft\.EPContext"),
        (lambda model: model.functions.add(domain="com.example", name="f"), r"com\.example"),
        (lambda model: model.functions.add(name="f").opset_import.add(domain="com.example"), r"com\.example"),
        (lambda model: of_runtime(model.functions.add(name="f", node=[{}]), "EPContext"), r"com\.microsoft\.EPC"),
    ],
)
def test_a_graph_with_operators_of_others_is_refused_at_any_depth(graph: Path, change: Any, found: str) -> None:
    changed(graph, change)
    with pytest.raises(SandboxError, match=rf"expected the operators of ONNX and .*, found {found}"):
        check(graph)


def test_the_operators_of_long_texts_are_accepted(graph: Path) -> None:
    import onnx
    from onnx import helper

    from thoth_models_builder.compile.attention.nodes import BIDIRECTIONAL, CAUSAL, DOMAIN, ROTATED, WINDOWED, expand

    numbers: dict[str, Any] = {"scale": 1.0, "left": 1, "right": 1, "heads": 1, "kv_heads": 1, "window": 1, "half": [2]}
    kinds = {
        BIDIRECTIONAL: ["scale"],
        WINDOWED: ["scale", "left", "right"],
        CAUSAL: ["heads", "kv_heads", "scale", "window"],
        ROTATED: ["half"],
    }

    def add(model: Any) -> None:
        for kind, names in kinds.items():
            inputs = ["q", "k", "v", *(["p"] if kind in (BIDIRECTIONAL, WINDOWED) else [])]
            attributes = {name: numbers[name] for name in names}
            model.graph.node.append(helper.make_node(kind, inputs, [kind], domain=DOMAIN, **attributes))

    changed(graph, add)
    expanded = expand(onnx.load_model(graph, load_external_data=False))
    graph.write_bytes(expanded.SerializeToString())
    written = graph.read_bytes()
    operators = (b"FusedMatMul", b"MultiHeadAttention", b"GroupQueryAttention", b"RotaryEmbedding")
    assert all(kind in written for kind in operators)
    check(graph)


@pytest.mark.hostile
def test_what_is_no_graph_is_refused(graph: Path) -> None:
    graph.write_bytes(b"\xff" * 100)
    with pytest.raises(SandboxError, match="expected an ONNX graph, found something else"):
        check(graph)
