"""Graphs as files: optimised ahead, the same bytes every time, not a word of where they were made, and in pages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.plain_runtime import PlainRuntime
from tests.support.tiny_models import MIXED_TEXTS

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.exported import Exported
    from tests.support.tiny_models import TinyModel

pytestmark = [pytest.mark.torch, pytest.mark.onnx]

TEXTS = list(MIXED_TEXTS)
SECRET = "/home/somebody/model.py"

MAKE = """
import hashlib, json, sys
from pathlib import Path
from thoth_models_builder.compile.export import export_graph, load_reference, write_tokenizer
from thoth_models_builder.compile.graphs.writing import finish_graph

directory = Path(sys.argv[2])
directory.mkdir()
model = load_reference(Path(sys.argv[1]))
export_graph(model, directory / "raw.onnx")
write_tokenizer(model, directory)
finish_graph(directory / "raw.onnx", directory / "model.onnx")
print(json.dumps({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}))
"""


def tensors(graph: Path) -> dict[str, Any]:
    """Return the weights of a graph, by name, as they are written: those outside without their bytes."""
    import onnx

    return {tensor.name: tensor for tensor in onnx.load(graph, load_external_data=False).graph.initializer}


def outside(tensor: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def some_graph() -> Any:
    """Return a graph with a large and a small weight, that tells of the place where it was made wherever it can."""
    from onnx import TensorProto, helper, numpy_helper

    large = numpy_helper.from_array(np.arange(600, dtype=np.float32).reshape(2, 300), "large")
    small = helper.make_tensor("small", TensorProto.FLOAT, [2], [1.0, 2.0])
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "branch", [], [])
    node = helper.make_node("If", ["condition"], ["z"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph(
        [node], "graph", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, [2])], initializer=[small, large]
    )
    model = helper.make_model(graph, producer_name="kept")
    inner = model.graph.node[0].attribute[0].g
    for message in (model, graph, model.graph, model.graph.node[0], inner, inner.node[0], model.graph.initializer[0]):
        message.metadata_props.add(key="stack_trace", value=SECRET)
        message.doc_string = SECRET
    model.graph.output[0].doc_string = SECRET
    return model


# --- the same bytes ---


def test_two_processes_write_the_same_bytes(
    wordpiece_model: TinyModel, run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    digests = []
    for seed in ("1", "2"):
        done = run_python(
            "-c",
            MAKE,
            str(wordpiece_model.directory),
            str(tmp_path / seed),
            environment={"PYTHONHASHSEED": seed},
        )
        assert done.returncode == 0, done.stderr
        digests.append(json.loads(done.stdout))
    assert digests[0] == digests[1]
    graph = {"model.onnx", "model.onnx.data", "model.onnx.tensors.json"}
    assert set(digests[0]) == {"raw.onnx", "raw.onnx.data", "tokenizer.json", "settings.json"} | graph


def test_what_an_exporter_tells_of_its_machine_is_left_out_at_every_depth(tmp_path: Path) -> None:
    from thoth_models_builder.compile.graphs.writing import write_graph

    model = some_graph()
    assert model.SerializeToString().count(SECRET.encode()) >= 12
    write_graph(model, tmp_path / "model.onnx")
    written = (tmp_path / "model.onnx").read_bytes()
    assert SECRET.encode() not in written
    assert b"stack_trace" not in written
    assert b"kept" in written


@pytest.mark.parametrize("name", ["raw.onnx", "model.onnx"])
def test_a_real_graph_has_no_paths_in_it(exported: Callable[[str], Exported], name: str) -> None:
    made = exported("wordpiece")
    written = (made.directory / name).read_bytes()
    for trace in (b"metadata", b"stack_trace", b"modeling_bert", b"site-packages", str(made.directory).encode()):
        assert trace not in written


def test_weights_are_written_in_the_order_of_their_names(exported: Callable[[str], Exported]) -> None:
    names = list(tensors(exported("wordpiece").directory / "model.onnx"))
    assert names == sorted(names)


# --- the layout ---


@pytest.mark.parametrize("name", ["raw.onnx", "model.onnx"])
def test_large_weights_lie_outside_each_at_the_beginning_of_a_page(
    exported: Callable[[str], Exported], name: str
) -> None:
    path = exported("wordpiece").directory / name
    places = [outside(tensor) for tensor in tensors(path).values() if tensor.external_data]
    assert len(places) > 10
    assert {place["location"] for place in places} == {path.name + ".data"}
    assert all(int(place["offset"]) % 4096 == 0 for place in places)
    assert all(int(place["length"]) >= 1024 for place in places)
    ends = [int(place["offset"]) + int(place["length"]) for place in places]
    assert max(ends) == path.with_name(path.name + ".data").stat().st_size


def test_small_weights_lie_inside(exported: Callable[[str], Exported]) -> None:
    kept = [t for t in tensors(exported("wordpiece").directory / "model.onnx").values() if not t.external_data]
    assert kept
    assert all(len(tensor.raw_data) < 1024 for tensor in kept)


def test_what_is_read_back_is_what_was_written(tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    from thoth_models_builder.compile.graphs.writing import write_graph

    write_graph(some_graph(), tmp_path / "model.onnx")
    read = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer
    }
    assert np.array_equal(read["large"], np.arange(600, dtype=np.float32).reshape(2, 300))
    assert np.array_equal(read["small"], np.array([1, 2], dtype=np.float32))


# --- optimised ahead ---


@pytest.mark.parametrize("name", ["wordpiece", "all poolings without prompt", "modernbert", "static"])
def test_finishing_a_graph_does_not_change_what_it_says(exported: Callable[[str], Exported], name: str) -> None:
    directory = exported(name).directory
    raw, finished = PlainRuntime(directory / "raw.onnx"), PlainRuntime(directory / "model.onnx")
    again = PlainRuntime(directory / "model.onnx", optimize=True)
    expected = raw.encode(TEXTS, batch_size=5)
    scale = np.abs(expected).max()
    assert np.abs(finished.encode(TEXTS, batch_size=5) - expected).max() <= 1e-5 * scale
    assert np.abs(again.encode(TEXTS, batch_size=5) - expected).max() <= 1e-5 * scale


def test_a_finished_graph_has_fewer_steps_but_none_of_the_slow_ones(exported: Callable[[str], Exported]) -> None:
    import onnx

    directory = exported("wordpiece").directory
    raw, finished = (onnx.load(directory / name, load_external_data=False).graph for name in ("raw.onnx", "model.onnx"))
    branches = [[node.op_type for node in attribute.g.node] for attribute in finished.node[-1].attribute]
    for branch in branches:
        assert "Gelu" in branch
        assert not {"SkipLayerNormalization", "BiasGelu"} & set(branch)
    assert min(map(len, branches)) < len(raw.node)


def test_nothing_else_is_left_behind(exported: Callable[[str], Exported]) -> None:
    made = exported("wordpiece")
    names = {path.name for path in made.directory.iterdir()}
    assert names == {
        "source", "raw.onnx", "raw.onnx.data", "model.onnx", "model.onnx.data", "model.onnx.tensors.json",
        "tokenizer.json", "settings.json",
    }  # fmt: skip
