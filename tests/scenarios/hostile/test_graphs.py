"""Graphs that would have onnxruntime read what was not compared: their manifests are consistent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.onnx_models import DIMENSION, plan, variant_files, verified
from thoth_models import BackendError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.onnx, pytest.mark.hostile]

TENSORS = "model.onnx.tensors.json"


def with_branch(files: dict[str, bytes], *, listed: str, location: str = "model.onnx.data") -> dict[str, bytes]:
    """Add a branch whose own tensor ``hidden`` lies in a file, and a tensor of some name to the list."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(files["model.onnx"])
    size, data = 4 * DIMENSION, files["model.onnx.data"]
    last = next(node for node in model.graph.node if "sentence_embedding" in node.output)
    last.output[list(last.output).index("sentence_embedding")] = "before"
    hidden = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[DIMENSION])
    hidden.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", len(data)), ("length", size)):
        hidden.external_data.add(key=key, value=str(value))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("of_then", "of_else")]
    add = helper.make_node("Add", ["before", "hidden"], ["of_then"])
    branches = {
        "then_branch": helper.make_graph([add], "then", [], outputs[:1], initializer=[hidden]),
        "else_branch": helper.make_graph(
            [helper.make_node("Identity", ["before"], ["of_else"])], "else", [], outputs[1:]
        ),
    }
    model.graph.initializer.append(helper.make_tensor("always", TensorProto.BOOL, [], [True]))
    model.graph.node.append(helper.make_node("If", ["always"], ["sentence_embedding"], **branches))
    document: dict[str, Any] = json.loads(files[TENSORS])
    document["tensors"].append(
        {"name": listed, "type": "float32", "shape": [DIMENSION], "offset": len(data), "length": size}
    )
    changed = {
        "model.onnx": model.SerializeToString(),
        "model.onnx.data": data + b"\x01" * size,
        TENSORS: json.dumps(document).encode(),
    }
    return {**files, **changed}


def load(root: Path, files: dict[str, bytes]) -> Any:
    from thoth_models.backends.onnx import OnnxBackend

    return OnnxBackend(verified(root, plan(files)))


def test_a_tensor_of_a_branch_that_the_list_has_is_taken_from_the_compared_bytes(tmp_path: Path) -> None:
    backend = load(tmp_path / "bundle", with_branch(variant_files(tmp_path / "files"), listed="hidden"))
    assert backend.encode(["water"], prompt=None, batch_size=None, show_progress_bar=False).shape == (1, DIMENSION)


def test_a_tensor_of_a_branch_that_the_list_lacks_is_not_read(tmp_path: Path) -> None:
    """Although the list has as many tensors as the graph."""
    files = with_branch(variant_files(tmp_path / "files"), listed="unused")
    with pytest.raises(BackendError, match=r"could not load model\.onnx: .*hidden.*file_length: 0"):
        load(tmp_path / "bundle", files)


@pytest.mark.parametrize(
    "location", ["tokenizer.json", "../mini/onnx-fp32/model.onnx.data", "/etc/hostname", "*/_ORT_MEM_ADDR_/*"]
)
def test_external_data_in_another_place_is_not_read(tmp_path: Path, location: str) -> None:
    files = with_branch(variant_files(tmp_path / "files"), listed="unused", location=location)
    with pytest.raises(BackendError, match=r"could not load model\.onnx: .*(hidden|[Ee]xternal data|Absolute path)"):
        load(tmp_path / "bundle", files)
