"""Whether a tokenizer tells texts apart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import tiny_models
from tests.support.checkpoints import found_faults, make_headed_model, without
from thoth_models.backends.checkpoint.distinction import distinction_faults

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.tiny_models import TinyModel

pytestmark = pytest.mark.torch


def copied(model: TinyModel, directory: Path) -> Path:
    return without(model, directory, "no tensor has this name").directory


@pytest.mark.hostile
def test_a_tokenizer_without_its_vocabulary_is_a_fault(tmp_path: Path) -> None:
    """transformers makes one of special tokens alone: all texts have one vector then, or as many as lengths."""
    directory = make_headed_model(tmp_path / "model", "RobertaForMaskedLM")
    assert found_faults(directory) == []
    (directory / "tokenizer.json").unlink()
    settings = {"tokenizer_class": "RobertaTokenizer", "model_max_length": 38}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    expected = "expected a tokenizer with a vocabulary, found one that makes [2, 3] of any text"
    assert found_faults(directory) == [f"Transformer (roberta): {expected}"]


@pytest.mark.hostile
def test_a_vocabulary_of_which_no_text_has_words_is_a_fault(tmp_path: Path) -> None:
    directory = tiny_models.make_static_model(tmp_path / "model").directory
    assert found_faults(directory) == []
    path = next(directory.rglob("tokenizer.json"))
    document = json.loads(path.read_bytes())
    vocabulary, unknown = document["model"]["vocab"], document["model"]["unk_token"]
    document["model"]["vocab"] = {
        token if token == unknown else f"not a word {number}": number for token, number in vocabulary.items()
    }
    document["added_tokens"] = []
    path.write_text(json.dumps(document), encoding="utf-8")
    expected = f"expected a tokenizer with a vocabulary, found one that makes [{vocabulary[unknown]}] of any text"
    assert found_faults(directory) == [f"StaticEmbedding: {expected}"]


@pytest.mark.parametrize("longest", [1, 2, 3])
def test_a_maximum_without_room_for_a_token_of_the_text_is_a_fault(
    wordpiece_model: TinyModel, tmp_path: Path, longest: int
) -> None:
    directory = copied(wordpiece_model, tmp_path / "model")
    path = directory / "sentence_bert_config.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "max_seq_length": longest}), encoding="utf-8")
    expected = (
        "Transformer (bert): expected a max_seq_length of at least 3, because the tokenizer adds 2 special tokens to "
        f"each text, found {longest}"
    )
    assert found_faults(directory) == ([] if longest == 3 else [expected])


def test_a_tokenizer_that_adds_nothing_needs_room_for_one_token() -> None:
    def tokenizer(text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [len(word) for word in text.split()]}

    tokenizer.all_special_ids = []  # type: ignore[attr-defined]
    assert list(distinction_faults(tokenizer, 1)) == []
    (fault,) = distinction_faults(tokenizer, 0)
    assert fault.startswith("expected a max_seq_length of at least 1, ")


def test_code_of_a_models_own_need_not_have_a_tokenizer() -> None:
    assert list(distinction_faults(None, 1)) == []
