"""Two exporters: the quick one passes for every kind of model, and the other one is there where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.exported import MAKERS
from tests.support.tiny_models import make_pooled_model

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.tiny_models import TinyModel

pytestmark = [pytest.mark.torch, pytest.mark.onnx, pytest.mark.unmeasured]


@pytest.fixture
def no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the slow exporter fail."""
    from thoth_models_builder.compile import export

    def refuse(*_: Any) -> None:
        raise RuntimeError("the other exporter was asked")

    monkeypatch.setattr(export, "by_program", refuse)


@pytest.mark.usefixtures("no_program")
@pytest.mark.parametrize("name", MAKERS)
def test_every_kind_of_model_is_exported_by_tracing(name: str, tmp_path: Path) -> None:
    import onnx

    from thoth_models_builder.compile.export import export_graph, load_reference
    from thoth_models_builder.compile.tokenizer_files import graph_inputs

    model = load_reference(MAKERS[name](tmp_path / "model").directory)
    export_graph(model, tmp_path / "raw.onnx")
    graph = onnx.load(tmp_path / "raw.onnx", load_external_data=False).graph
    # Also those that the encoder makes nothing of.
    assert [value.name for value in graph.input] == graph_inputs(model)
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    assert [node.name for node in graph.node if used.isdisjoint(node.output)] == []


@pytest.mark.usefixtures("no_program")
@pytest.mark.parametrize("pooling", ["cls", "max", "mean", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"])
def test_the_width_is_stated_after_every_pooling_and_no_branch_is_left(pooling: str, tmp_path: Path) -> None:
    import onnx
    from sentence_transformers.base.modules import Normalize

    from thoth_models_builder.compile.export import export_graph, load_reference
    from thoth_models_builder.compile.graphs.writing import finish_graph

    model = make_pooled_model(tmp_path / "model", pooling, more=[Normalize()])
    export_graph(load_reference(model.directory), tmp_path / "raw.onnx")
    finish_graph(tmp_path / "raw.onnx", tmp_path / "model.onnx", precision="int8")
    graph = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph
    (output,) = graph.output
    assert output.type.tensor_type.shape.dim[1].dim_value == model.dimension
    assert "If" not in {node.op_type for node in graph.node}


def test_sizes_are_read_once_and_not_in_every_layer(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    import onnx

    from thoth_models_builder.compile.export import export_graph, load_reference

    model = load_reference(wordpiece_model.directory)
    layers: Any = model[0].model.encoder.layer  # type: ignore[union-attr]
    counts = []
    for number in (2, 4):
        while len(layers) < number:
            layers.append(layers[0])
        export_graph(model, tmp_path / f"{number}.onnx")
        nodes = onnx.load(tmp_path / f"{number}.onnx", load_external_data=False).graph.node
        counts.append(sum(node.op_type == "Shape" for node in nodes))
    assert counts[0] == counts[1]


def test_weights_are_not_copied(wordpiece_model: TinyModel) -> None:
    from thoth_models_builder.compile import export
    from thoth_models_builder.compile.exporters import by_tracing
    from thoth_models_builder.compile.tokenizer_files import graph_inputs

    model = export.load_reference(wordpiece_model.directory)
    names = graph_inputs(model)
    pipeline = export._Pipeline(model, excludes_prompt=False)
    with export._quiet():
        graph, weights = by_tracing(pipeline, export._example(model, names, 2, 7))
    assert len(weights) > 10
    name = "steps.0.model.embeddings.word_embeddings.weight"
    assert np.shares_memory(weights[f"pipeline.{name}"], dict(pipeline.named_parameters())[name].detach().numpy())
    assert graph.ByteSize() < 200_000


@pytest.mark.parametrize("fault", ["raises", "is another model"])
def test_where_tracing_does_not_pass_the_other_exporter_is_used(
    fault: str, wordpiece_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    from thoth_models_builder.compile import export
    from thoth_models_builder.compile.exporters import by_tracing as traced

    def wrong(pipeline: Any, example: Any) -> Any:
        if fault == "raises":
            raise ValueError("control flow")
        graph, weights = traced(pipeline, example)
        name = max(weights, key=lambda one: weights[one].size)
        return graph, {**weights, name: np.asarray(weights[name], np.float32) * 1.5}

    monkeypatch.setattr(export, "by_tracing", wrong)
    export.export_graph(export.load_reference(wordpiece_model.directory), tmp_path / "raw.onnx")
    # Its names are those of the program, without the slashes of a recorded graph.
    nodes = onnx.load(tmp_path / "raw.onnx", load_external_data=False).graph.node
    assert not any(node.name.startswith("/") for node in nodes)


@pytest.mark.usefixtures("no_program")
def test_where_neither_passes_the_error_says_why(
    wordpiece_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thoth_models_builder.compile import export
    from thoth_models_builder.compile.errors import NotExportableError

    monkeypatch.setattr(export, "by_tracing", lambda *_: 1 / 0)
    with pytest.raises(NotExportableError, match=r"BertModel: RuntimeError: the other exporter was asked"):
        export.export_graph(export.load_reference(wordpiece_model.directory), tmp_path / "raw.onnx")
