"""The texts that variants are measured with."""

from __future__ import annotations

import pytest

from thoth_models_builder.compile.texts import corpus, golden_texts


def test_the_corpus_has_500_different_texts_of_ten_forms() -> None:
    texts = corpus()
    assert len(set(texts)) == len(texts) == 500
    for mark in ("SELECT ", "ALTER TABLE ", "The ", "What is the ", "List each ", "count of distinct ", "Find the "):
        assert sum(text.startswith(mark) for text in texts) == 50, mark
    for subject in ("customer", "molecule", "driver"):
        assert sum(subject in text.lower() for text in texts) == 50, subject


def test_golden_texts_are_64_and_four_again_with_each_prompt() -> None:
    texts = golden_texts(128, {"query": "query: ", "document": "passage: ", "none": "", "again": "query: "})
    assert [sum(prompt == wanted for prompt, _ in texts) for wanted in ("", "query: ", "passage: ")] == [64, 4, 4]
    assert len(texts) == 72
    assert len(texts[63][1].split()) > 128


@pytest.mark.parametrize(("limit", "words"), [(16, 66), (512, 562), (8192, 1500), (None, 650)])
def test_the_longest_golden_text_is_longer_than_a_usual_maximum(limit: int | None, words: int) -> None:
    assert max(len(text.split()) for _, text in golden_texts(limit, {})) == words
