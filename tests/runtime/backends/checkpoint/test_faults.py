"""What makes the vectors of a loaded model wrong, and what does not."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import tiny_models
from tests.support.checkpoints import change_weights, found_faults, with_token, without
from thoth_models.backends.checkpoint.faults import _beyond, _rows, faults
from thoth_models.backends.checkpoint.reports import load_reports
from thoth_models.backends.checkpoint.unused import WITHOUT_ROW

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.tiny_models import TinyModel

pytestmark = pytest.mark.torch

LAYER = "encoder.layer.1."
"""In the names of 16 tensors of a tiny BERT."""


def changed(model: TinyModel, directory: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    copied = without(model, directory, "no tensor has this name")
    change_weights(copied.directory / "model.safetensors", change)
    return copied.directory


def test_a_whole_model_has_none(wordpiece_model: TinyModel) -> None:
    assert found_faults(wordpiece_model.directory) == []


@pytest.mark.hostile
def test_a_missing_layer_is_named_tensor_by_tensor(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    (fault,) = found_faults(without(wordpiece_model, tmp_path / "model", LAYER).directory)
    start = "Transformer (bert): expected weights for every tensor of the model, found none for 16: "
    assert fault.startswith(f"{start}encoder.layer.1.attention.output.LayerNorm.bias, ")
    assert fault.count(LAYER) == 16


def test_of_many_missing_tensors_the_first_are_named(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    (fault,) = found_faults(without(wordpiece_model, tmp_path / "model", "encoder.").directory)
    assert "found none for 32: encoder.layer.0.attention" in fault
    assert fault.endswith(" and 12 more")


@pytest.mark.hostile
def test_a_tensor_that_the_model_has_no_place_for_is_named(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    directory = changed(
        wordpiece_model, tmp_path / "model", lambda tensors: {**tensors, "adapter.weight": tensors["pooler.dense.bias"]}
    )
    assert found_faults(directory) == [
        "Transformer (bert): expected only tensors that the model has a place for, found others: 1: adapter.weight"
    ]


@pytest.mark.hostile
@pytest.mark.parametrize("says_to_ignore", [False, True])
def test_a_tensor_of_another_shape_is_named(
    wordpiece_model: TinyModel, tmp_path: Path, *, says_to_ignore: bool
) -> None:
    """Also where the model's own configuration says that the library should ignore it."""
    name = "encoder.layer.0.output.dense.bias"
    directory = changed(wordpiece_model, tmp_path / "model", lambda tensors: {**tensors, name: tensors[name][:5]})
    if says_to_ignore:
        path = directory / "sentence_bert_config.json"
        settings = {**json.loads(path.read_bytes()), "model_args": {"ignore_mismatched_sizes": True}}
        path.write_text(json.dumps(settings), encoding="utf-8")
    (fault,) = found_faults(directory)
    expected = "Transformer (bert): expected the shapes that config.json describes, found others: "
    assert fault == f"{expected}1: {name} of shape (5,) instead of (32,)"


def test_weights_in_shards_are_one_checkpoint(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    from transformers.models.auto.modeling_auto import AutoModel

    directory = without(wordpiece_model, tmp_path / "model", "no tensor has this name").directory
    (directory / "model.safetensors").unlink()
    AutoModel.from_pretrained(wordpiece_model.directory).save_pretrained(directory, max_shard_size="40kB")
    shards = sorted(directory.glob("model-*.safetensors"))
    assert len(shards) > 2
    assert found_faults(directory) == []
    lost: list[str] = []

    def lose(tensors: dict[str, Any]) -> dict[str, Any]:
        lost.append(min(tensors))
        return {name: tensor for name, tensor in tensors.items() if name != lost[0]}

    change_weights(shards[-1], lose)
    (fault,) = found_faults(directory)
    assert fault.endswith(f"found none for 1: {lost[0]}")


def test_a_pooler_is_needed_where_its_output_is_taken(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    directory = without(wordpiece_model, tmp_path / "model", "pooler.").directory
    assert found_faults(directory) == []
    path = directory / "sentence_bert_config.json"
    taken = {"method": "forward", "method_output_name": "pooler_output"}
    settings = {
        **json.loads(path.read_bytes()),
        "modality_config": {"text": taken},
        "module_output_name": "sentence_embedding",
    }
    path.write_text(json.dumps(settings), encoding="utf-8")
    (fault,) = found_faults(directory)
    assert fault.endswith("found none for 2: pooler.dense.bias, pooler.dense.weight")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda rows: {"embeddings": rows}, None),
        (lambda rows: {"embeddings": rows, "weights": rows[:, 0].contiguous()}, None),
        (
            lambda rows: {"embedding.weight": rows, "scale": rows[0]},
            "StaticEmbedding: expected only tensors that the module has a place for, found others: 1: scale",
        ),
        (
            lambda rows: {"embedding.weight": rows[:-3]},
            "StaticEmbedding: expected token ids below {rows}, the number of rows of the embedding table, found 3: ",
        ),
    ],
)
def test_static_embeddings(tmp_path: Path, change: Callable[[Any], dict[str, Any]], fault: str | None) -> None:
    directory = tiny_models.make_static_model(tmp_path / "model").directory
    (file,) = directory.rglob("*.safetensors")
    sizes: list[int] = []

    def replaced(tensors: dict[str, Any]) -> dict[str, Any]:
        sizes.append(len(tensors["embedding.weight"]))
        return change(tensors["embedding.weight"])

    change_weights(file, replaced)
    faults_found = found_faults(directory)
    if fault is None:
        assert faults_found == []
    else:
        (only,) = faults_found
        assert only.startswith(fault.format(rows=sizes[0] - 3))


@pytest.mark.hostile
def test_a_token_without_a_row_is_named_with_its_id(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    directory = with_token(wordpiece_model, tmp_path / "model", "[E1]").directory
    rows = json.loads((directory / "config.json").read_bytes())["vocab_size"]
    (fault,) = found_faults(directory)
    expected = f"Transformer (bert): expected token ids below {rows}, the number of rows of the embedding table, "
    assert fault == f"{expected}found 1: '[E1]' with id {rows}; a text with such a token has no vector"


def test_a_token_beyond_a_gap_is_named_too(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    """Where the vocabulary has no more tokens than the table has rows."""
    directory = without(wordpiece_model, tmp_path / "model", "no tensor has this name").directory
    path = directory / "tokenizer.json"
    document = json.loads(path.read_bytes())
    document["model"]["vocab"]["water"] = 5000
    path.write_text(json.dumps(document), encoding="utf-8")
    (fault,) = found_faults(directory)
    assert "found 1: 'water' with id 5000;" in fault


def test_a_token_of_the_reviewed_list_is_accepted_for_its_architecture_alone(
    wordpiece_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = with_token(wordpiece_model, tmp_path / "model", "<image_soft_token>").directory
    assert len(found_faults(directory)) == 1
    monkeypatch.setitem(WITHOUT_ROW, "bert", WITHOUT_ROW["gemma3_text"])
    assert found_faults(directory) == []


@pytest.mark.hostile
def test_a_library_that_does_not_report_is_a_fault(wordpiece_model: TinyModel) -> None:
    assert found_faults(wordpiece_model.directory, is_collected=False) == [
        "Transformer (bert): expected the library's report about its weights, found none"
    ]


def test_an_encoder_is_found_under_any_name_in_a_module_of_the_models_own(
    wordpiece_model: TinyModel, tmp_path: Path
) -> None:
    """Not the names in one file, which sharded weights do not have."""
    import torch
    from transformers import PreTrainedModel
    from transformers.models.auto import AutoModel, AutoTokenizer

    class Own(torch.nn.Module):
        def __init__(self, directory: Path) -> None:
            super().__init__()
            self.encoder = AutoModel.from_pretrained(directory)
            self.tokenizer = AutoTokenizer.from_pretrained(directory)

    lacking = without(wordpiece_model, tmp_path / "model", LAYER).directory
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "modules.json").write_text('[{"path": ""}]', encoding="utf-8")
    with load_reports(PreTrainedModel) as reports:
        whole, part = (torch.nn.Sequential(Own(place)) for place in (wordpiece_model.directory, lacking))
    assert faults(whole, tmp_path / "modules", reports) == []
    (fault,) = faults(part, tmp_path / "modules", reports)
    assert fault.startswith("Own (bert): expected weights for every tensor of the model, found none for 16: ")
    (fault,) = faults(whole, tmp_path / "modules", [])
    assert fault == "Own: expected the library's report about its weights, or model.safetensors, found neither"


@pytest.mark.hostile
def test_an_architecture_whose_missing_tensors_the_library_hides_is_a_fault(
    wordpiece_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.bert import BertModel

    monkeypatch.setattr(BertModel, "_keys_to_ignore_on_load_missing", ["layer"])
    (fault,) = found_faults(wordpiece_model.directory)
    assert fault.endswith("found it silent on layer")


def test_an_encoder_that_does_not_name_its_table_is_asked_for_its_size() -> None:
    class Encoder:
        config = SimpleNamespace(vocab_size=7)

        def get_input_embeddings(self) -> None:
            raise NotImplementedError

    assert _rows(Encoder()) == 7
    assert _beyond(None, 7) == {}
