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
    branch = helper.make_graph(
        [helper.make_node("Identity", ["inner"], ["out"])], "branch", [], [out], [external("inner")]
    )
    condition = helper.make_tensor_value_info("condition", TensorProto.BOOL, ())
    node = helper.make_node("If", ["condition"], ["out"], then_branch=branch, else_branch=branch)
    whole = helper.make_graph([node], "whole", [condition], [out], [external("outer")])
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


def test_its_own_weights_are_accepted(graph: Path) -> None:
    check(graph)


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
def test_other_places_are_refused_wherever_they_are(graph: Path, key: str, value: str) -> None:
    data = graph.read_bytes()
    for tensor_of in (lambda model: model.graph.initializer[0], inner):
        graph.write_bytes(data)
        changed(graph, lambda model, tensor_of=tensor_of: set_place(tensor_of(model), key, value))
        with pytest.raises(SandboxError, match=r"expected weights in model\.onnx\.data, found"):
            check(graph)


def test_operators_of_others_are_refused(graph: Path) -> None:
    changed(graph, lambda model: model.opset_import.add(domain="com.example", version=1))
    with pytest.raises(SandboxError, match=r"expected the operators of ONNX, found those of com\.example"):
        check(graph)


def test_what_is_no_graph_is_refused(graph: Path) -> None:
    graph.write_bytes(b"\xff" * 100)
    with pytest.raises(SandboxError, match="expected an ONNX graph, found something else"):
        check(graph)
