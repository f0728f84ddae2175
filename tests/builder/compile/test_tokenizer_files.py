"""tokenizer.json and settings.json: what the library does to a text before a model sees it, and no more."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import tiny_models
from tests.support.checkpoints import make_sentencepiece_model
from tests.support.plain_runtime import PlainRuntime
from tests.support.tiny_models import MIXED_TEXTS
from thoth_models.bundle.canonical_json import canonical_json
from thoth_models_builder.compile.errors import NotExportableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.exported import Exported
    from tests.support.tiny_models import TinyModel

pytestmark = [pytest.mark.torch, pytest.mark.onnx]

USUAL = {
    "version": 1,
    "inputs": ["attention_mask", "input_ids", "token_type_ids"],
    "add_special_tokens": True,
    "pad_token_id": 0,
    "pad_token_type_id": 0,
    "padding_side": "right",
    "max_tokens": 64,
    "excludes_prompt": False,
}
PLAIN_INPUTS = ["attention_mask", "input_ids"]


def reference(model: TinyModel) -> Any:
    from thoth_models_builder.compile.export import load_reference

    return load_reference(model.directory)


def refusal(model: Any, directory: Path) -> str:
    from thoth_models_builder.compile.tokenizer_files import write_tokenizer

    with pytest.raises(NotExportableError) as caught:
        write_tokenizer(model, directory)
    assert "\n" not in str(caught.value)
    assert not list(directory.glob("*.json"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "different"),
    [
        ("wordpiece", {}),
        ("unigram", {"inputs": PLAIN_INPUTS, "pad_token_id": 1, "max_tokens": 128}),
        (
            "all poolings without prompt",
            {
                "inputs": ["attention_mask", "input_ids", "pooling_mask", "token_type_ids"],
                "max_tokens": 40,
                "excludes_prompt": True,
            },
        ),
        ("roberta", {"inputs": PLAIN_INPUTS, "pad_token_id": 1, "max_tokens": 66}),
        ("qwen3", {"inputs": PLAIN_INPUTS, "pad_token_id": 1, "padding_side": "left"}),
        ("static", {"inputs": PLAIN_INPUTS, "add_special_tokens": False, "max_tokens": None}),
    ],
)
def test_settings(exported: Callable[[str], Exported], name: str, different: dict[str, Any]) -> None:
    written = (exported(name).directory / "settings.json").read_bytes()
    assert json.loads(written) == {**USUAL, **different}
    assert written == canonical_json(json.loads(written))


@pytest.mark.parametrize("name", ["wordpiece", "unigram", "roberta", "qwen3", "static"])
def test_the_tokenizer_cuts_where_the_settings_say_and_does_not_pad(
    exported: Callable[[str], Exported], name: str
) -> None:
    runtime = PlainRuntime(exported(name).directory / "model.onnx")
    limit, truncation = runtime.settings["max_tokens"], runtime.tokenizer.truncation
    assert runtime.tokenizer.padding is None
    assert (truncation and truncation["max_length"]) == limit
    longest = len(runtime.tokenizer.encode(MIXED_TEXTS[-1]).ids)
    assert longest == limit if limit else longest >= 5000


@pytest.mark.parametrize("name", ["wordpiece", "unigram", "do_lower_case", "roberta", "mpnet", "modernbert"])
def test_texts_become_the_tokens_that_the_library_makes_of_them(exported: Callable[[str], Exported], name: str) -> None:
    made = exported(name)
    runtime, plain = PlainRuntime(made.directory / "model.onnx"), made.model.plain()
    for text in (*MIXED_TEXTS, *plain.tokenizer.all_special_tokens, "  Two  SPACES\u00a0and e\u0301 "):
        assert runtime.tokenizer.encode(text).ids == plain.preprocess([text])["input_ids"][0].tolist()


def test_do_lower_case_of_the_library_is_in_the_tokenizer(
    exported: Callable[[str], Exported], wordpiece_model: TinyModel
) -> None:
    tokenizer = PlainRuntime(exported("do_lower_case").directory / "model.onnx").tokenizer
    assert tokenizer.encode("WATER").ids == tokenizer.encode("water").ids
    # The checkpoint itself keeps case: without the switch, these would be two texts.
    written = exported("do_lower_case").model.directory / "tokenizer.json"
    from tokenizers import Tokenizer

    kept = Tokenizer.from_file(str(written))
    assert kept.encode("WATER").ids != kept.encode("water").ids


@pytest.mark.parametrize("family", ["XLMRoberta", "T5"])
def test_a_sentencepiece_model_is_converted(tmp_path: Path, family: str) -> None:
    """To the tokens of sentence-transformers, which are those of SentencePiece itself."""
    from thoth_models_builder.compile.tokenizer_files import write_tokenizer

    tokenizers, sentencepiece = (importlib.import_module(name) for name in ("tokenizers", "sentencepiece"))
    tiny = make_sentencepiece_model(tmp_path / "model", family)
    assert not list(tiny.directory.rglob("tokenizer.json"))
    write_tokenizer(reference(tiny), tmp_path)
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    plain = tiny.plain()
    own = sentencepiece.SentencePieceProcessor(model_file=str(next(tiny.directory.glob("*.model"))))
    for text in (*MIXED_TEXTS, "  Two  SPACES\u00a0and e\u0301 ", "\ufb01n \u2460 \u00bd"):
        ids = tokenizer.encode(text).ids
        assert ids == plain.preprocess([text])["input_ids"][0].tolist()
        found = [token for token in map(tokenizer.id_to_token, ids) if token not in ("<s>", "</s>")]
        pieces = [own.id_to_piece(number) for number in own.encode(text.strip())]
        assert found == pieces[: len(found)]
        assert len(found) == len(pieces) or len(ids) == tiny.max_seq_length


# --- refusals ---


@pytest.mark.hostile
def test_a_tokenizer_in_python_is_refused(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    model = reference(wordpiece_model)
    slow = type("OwnTokenizer", (type(model[0].processor),), {"is_fast": False})
    model[0].processor.__class__ = slow
    assert refusal(model, tmp_path) == "expected a tokenizer that `tokenizers` runs, found OwnTokenizer"


def test_a_chat_template_is_refused(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    model = reference(wordpiece_model)
    model[0].modality_config = {**model[0].modality_config, "message": {"method": "forward"}}
    assert refusal(model, tmp_path) == "expected a model for plain text, found one with a chat template"


def test_a_tokenizer_that_cannot_pad_is_refused(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    model = reference(wordpiece_model)
    model[0].processor.pad_token = None
    assert "padding token" in refusal(model, tmp_path)


def test_an_input_that_no_runtime_makes_is_refused(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    model = reference(wordpiece_model)
    model[0].processing_kwargs = {"text": {"return_special_tokens_mask": True}}
    assert refusal(model, tmp_path) == (
        "expected inputs among attention_mask, input_ids, token_type_ids, found special_tokens_mask"
    )


def test_what_tokenizers_alone_does_not_do_is_refused(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    """Here it is that special tokens in a text are taken apart, which tokenizer.json cannot say."""
    model = reference(wordpiece_model)
    model[0].processor.split_special_tokens = True
    assert refusal(model, tmp_path).startswith("input_ids of '[PAD] [UNK] [CLS] [SEP] [MASK]': expected [[")


def test_padding_to_a_fixed_length_is_refused(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    model = reference(wordpiece_model)
    model[0].processing_kwargs = {"text": {"padding": "max_length"}}
    assert refusal(model, tmp_path).startswith("input_ids of ")


def test_special_tokens_that_only_the_library_knows_are_refused_where_prompts_are_measured(tmp_path: Path) -> None:
    model = reference(tiny_models.make_pooled_model(tmp_path / "model", "mean", include_prompt=False))
    model[0].processor.bos_token = "water"
    assert refusal(model, tmp_path).startswith("expected the special tokens [0, 1, 2, 3, 4, ")


def test_static_embeddings_with_a_maximum_are_refused(tmp_path: Path) -> None:
    model = reference(tiny_models.make_static_model(tmp_path / "model"))
    model[0].tokenizer.enable_truncation(16)
    assert refusal(model, tmp_path).startswith("StaticEmbedding: expected a tokenizer without truncation, found {")


def test_no_transformer_is_refused(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(modules=list(reference(wordpiece_model))[1:], device="cpu")
    assert refusal(model, tmp_path) == "expected a Transformer or a StaticEmbedding first, found Pooling"
