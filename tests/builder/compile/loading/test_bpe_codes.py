"""Tokenizers of PhoBERT and BERTweet, converted: the same tokens, and the same vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.checkpoints import make_bpe_codes_model
from tests.support.plain_runtime import PlainRuntime
from tests.support.tiny_models import MIXED_TEXTS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.torch, pytest.mark.onnx]

TEXTS = (
    *("water", "wa", "ter", "water river", "riv", "ic quic quick", "rivers? water", "low  lo\nw", "a\x1cb c\u2028d"),
    *("qui", "water </s> river", "<mask> water", "wa@@ ter", "water\n", "\n", "x", "日本 water"),
    *MIXED_TEXTS,
)


def test_tokens_and_vectors_are_those_of_the_library(tmp_path: Path) -> None:
    from thoth_models_builder.compile.export import export_graph, load_reference, write_tokenizer
    from thoth_models_builder.compile.loading.bpe_codes import convert

    tiny = make_bpe_codes_model(tmp_path / "model")
    model = load_reference(tiny.directory)
    export_graph(model, tmp_path / "model.onnx")
    write_tokenizer(model, tmp_path)
    plain = tiny.plain()
    tokenizer, unlisted = convert(plain.tokenizer)
    remained = 0
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        remained += sum(number >= unlisted.first for number in ids)
        expected = plain.preprocess([text])["input_ids"][0].tolist()
        assert [unlisted.unknown if number >= unlisted.first else number for number in ids] == expected, text
    # Pieces that the vocabulary does not have were among them.
    assert remained > 3
    runtime: Any = PlainRuntime(tmp_path / "model.onnx")
    assert np.abs(runtime.encode(list(TEXTS)) - plain.encode(list(TEXTS))).max() < 1e-5


def test_others_are_not_taken_for_one_of_these(tmp_path: Path) -> None:
    from transformers.models.bertweet.tokenization_bertweet import BertweetTokenizer

    from thoth_models_builder.compile.loading.bpe_codes import is_convertible

    tiny = make_bpe_codes_model(tmp_path / "model")
    files = {"vocab_file": str(tiny.directory / "vocab.txt"), "merges_file": str(tiny.directory / "bpe.codes")}
    make: Any = BertweetTokenizer
    assert is_convertible(make(**files))
    assert not is_convertible(make(**files, normalization=True))
    assert not is_convertible(None)
