"""Whether there is a tokenizer, and a row of the embedding table for each of its tokens."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.described import Files, files_of
from tests.support.projects import as_json
from thoth_models_builder.bundle.published.tokenizers import refuse_tokens_beyond_rows, refuse_without_tokenizer
from thoth_models_builder.errors import UnsupportedModelError
from thoth_models_builder.spec.variants import path_in

SLOW = [
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt", "bpe.codes"),
    ("sentencepiece.bpe.model",),
    ("spiece.model",),
    ("spm.model",),
    ("tokenizer.model",),
]


def table(**tokens: int) -> dict[str, Any]:
    return {"model": {"type": "WordPiece", "vocab": tokens}}


def content_of(rows: int, **files: object) -> Files:
    """Return config.json and other files, whose names have ``_`` for the dot before the suffix."""
    names = {name.removesuffix("_json") + ".json": as_json(value) for name, value in files.items()}
    return {"config.json": as_json({"vocab_size": rows}), **names}


@pytest.mark.parametrize("paths", [("tokenizer.json",), *SLOW])
@pytest.mark.parametrize("directory", ["", "0_Transformer"])
def test_each_form_of_a_tokenizer_is_one(paths: tuple[str, ...], directory: str) -> None:
    below = [path_in(directory, path) for path in paths]
    refuse_without_tokenizer([*below, "config.json"], directory, files_of({}))


@pytest.mark.parametrize(
    "paths", [(), ("vocab.json",), ("merges.txt",), ("tokenizer_config.json",), ("onnx/tokenizer.json",)]
)
def test_none_is_refused_by_name(paths: tuple[str, ...]) -> None:
    with pytest.raises(UnsupportedModelError) as refused:
        refuse_without_tokenizer([*paths, "model.safetensors"], "", files_of({"tokenizer_config.json": b"{}"}))
    assert str(refused.value) == (
        "tokenizer.json: expected a tokenizer (tokenizer.json, vocab.txt, sentencepiece.bpe.model, spiece.model, "
        "spm.model, tokenizer.model, vocab.json with merges.txt, vocab.txt with bpe.codes), found none; save one there "
        "with the tokenizer's `save_pretrained`, or choose a repository that has one"
    )


def test_a_tokenizer_that_needs_another_program_is_refused_by_name() -> None:
    contents = {"tokenizer_config.json": as_json({"tokenizer_class": "BertJapaneseTokenizer"}), "vocab.txt": b"[UNK]\n"}
    with pytest.raises(UnsupportedModelError, match="found BertJapaneseTokenizer, which cuts texts with MeCab"):
        refuse_without_tokenizer(contents, "", files_of(contents))
    contents["tokenizer.json"] = b"{}"
    refuse_without_tokenizer(contents, "", files_of(contents))


@pytest.mark.parametrize("place", ["tokenizer_config.json", "config.json"])
@pytest.mark.parametrize("name", ["PhobertTokenizer", "BertweetTokenizer"])
def test_a_vocabulary_without_its_merges_is_refused(place: str, name: str) -> None:
    contents = {place: as_json({"tokenizer_class": name}), "vocab.txt": b"a 1\n"}
    with pytest.raises(UnsupportedModelError) as refused:
        refuse_without_tokenizer(contents, "", files_of(contents))
    assert str(refused.value) == (
        f"bpe.codes: expected this file, the merges of {name} ({place}), or tokenizer.json, found none"
    )
    refuse_without_tokenizer([*contents, "bpe.codes"], "", files_of(contents))
    refuse_without_tokenizer([*contents, "tokenizer.json"], "", files_of(contents))


def test_a_static_embedding_needs_the_fast_form() -> None:
    with pytest.raises(UnsupportedModelError, match=r"^0_Static/tokenizer\.json: expected this file, in which alone"):
        refuse_without_tokenizer(["0_Static/vocab.txt"], "0_Static", files_of({}), is_static=True)
    refuse_without_tokenizer(["0_Static/tokenizer.json"], "0_Static", files_of({}), is_static=True)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("files", "path", "token", "token_id"),
    [
        ({"tokenizer_json": table(a=0, b=3)}, "tokenizer.json", "b", 3),
        (
            {"tokenizer_json": {"model": {"vocab": [["<s>", 0.0], ["a", -1.0], ["b", -2.0], ["c", -3.0]]}}},
            "tokenizer.json",
            "c",
            3,
        ),
        (
            {"tokenizer_json": {**table(a=0), "added_tokens": [{"id": 5, "content": "<new>"}]}},
            "tokenizer.json",
            "<new>",
            5,
        ),
        (
            {
                "tokenizer_json": table(a=0),
                "tokenizer_config_json": {"added_tokens_decoder": {"7": {"content": "<m>"}}},
            },
            "tokenizer_config.json",
            "<m>",
            7,
        ),
        ({"vocab_json": {"a": 0, "b": 4}}, "vocab.json", "b", 4),
        ({"added_tokens_json": {"<extra>": 9}}, "added_tokens.json", "<extra>", 9),
    ],
)
def test_a_token_without_a_row_is_refused_by_name(files: dict[str, Any], path: str, token: str, token_id: int) -> None:
    with pytest.raises(UnsupportedModelError) as refused:
        refuse_tokens_beyond_rows(files_of(content_of(3, **files)), "")
    assert str(refused.value).startswith(
        f"{path}: expected tokens with ids below 3, the rows of the embedding table (vocab_size in config.json), "
        f"found {token!r} with the id {token_id}; "
    )
    refuse_tokens_beyond_rows(files_of(content_of(token_id + 1, **files)), "")


def test_the_place_of_an_image_in_gemma_is_accepted() -> None:
    added = [{"id": 3, "content": "<image_soft_token>"}]
    contents = content_of(3, tokenizer_json={**table(a=0, b=2), "added_tokens": added})
    with pytest.raises(UnsupportedModelError, match="found '<image_soft_token>' with the id 3"):
        refuse_tokens_beyond_rows(files_of(contents), "")
    contents["config.json"] = as_json({"vocab_size": 3, "model_type": "gemma3_text"})
    refuse_tokens_beyond_rows(files_of(contents), "")
    contents["config.json"] = as_json({"vocab_size": 2, "model_type": "gemma3_text"})
    with pytest.raises(UnsupportedModelError, match="found 'b' with the id 2"):
        refuse_tokens_beyond_rows(files_of(contents), "")


def test_a_plain_vocabulary_counts_by_lines() -> None:
    contents = {**content_of(2), "vocab.txt": b"[PAD]\n[UNK]\nword\n"}
    with pytest.raises(UnsupportedModelError, match="found 'word' with the id 2"):
        refuse_tokens_beyond_rows(files_of(contents), "")
    refuse_tokens_beyond_rows(files_of({**contents, **content_of(3)}), "")
    # With bpe.codes, the lines are tokens and counts, and other tokens stand before them.
    refuse_tokens_beyond_rows(files_of({**contents, "bpe.codes": b""}), "")


def test_with_a_tokenizer_json_the_other_tables_are_not_loaded() -> None:
    contents = {**content_of(1, tokenizer_json=table(a=0), added_tokens_json={"x": 9}), "vocab.txt": b"a\nb\nc\n"}
    refuse_tokens_beyond_rows(files_of(contents), "")


@pytest.mark.parametrize("tokenizer", [{}, {"model": None}, {"model": {"vocab": {}}}, {"added_tokens": 3}])
def test_what_is_not_stated_is_not_checked(tokenizer: dict[str, Any]) -> None:
    refuse_tokens_beyond_rows(files_of(content_of(1, tokenizer_json=tokenizer)), "")
    refuse_tokens_beyond_rows(files_of({"config.json": b"{}", "tokenizer.json": as_json(table(a=99))}), "")
    refuse_tokens_beyond_rows(files_of({"tokenizer.json": as_json(table(a=99))}), "")


@pytest.mark.hostile
@pytest.mark.parametrize("data", [b"[]", b"{", b"[" * 100_000])
def test_a_malformed_tokenizer_is_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedModelError, match=r"tokenizer.json: expected "):
        refuse_tokens_beyond_rows(files_of({**content_of(1), "tokenizer.json": data}), "")


@pytest.mark.parametrize("name", ["embedding.weight", "embeddings"])
def test_the_rows_of_a_static_embedding_are_those_of_its_weights(name: str) -> None:
    header = as_json({name: {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]}})
    weights = len(header).to_bytes(8, "little") + header
    contents = {"tokenizer.json": as_json(table(a=0, b=1, c=2)), "model.safetensors": weights}
    with pytest.raises(UnsupportedModelError, match=r"below 2, the rows of the embedding table \(model.safetensors\)"):
        refuse_tokens_beyond_rows(files_of(contents), "", is_static=True)
    contents["tokenizer.json"] = as_json(table(a=0, b=1))
    refuse_tokens_beyond_rows(files_of(contents), "", is_static=True)
