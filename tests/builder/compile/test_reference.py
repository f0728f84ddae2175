"""The reference: plain sentence-transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from thoth_models_builder.compile.texts import golden_texts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.tiny_models import TinyModel

pytestmark = pytest.mark.torch


class Tasks:
    """A model whose module takes a task, and computes a vector for each of those that it has."""

    def __init__(self, vectors: dict[str | None, list[float]]) -> None:
        self._vectors = vectors

    def get_model_kwargs(self) -> list[str]:
        return ["task"]

    def encode(self, _texts: list[str], *, task: str | None = None, **_: Any) -> Any:
        if task not in self._vectors:
            raise ValueError(task)
        return np.array([self._vectors[task]], dtype=np.float32)


@pytest.mark.parametrize(
    ("others", "refused"),
    [
        ({}, None),
        ({"retrieval": [0.0, 1.0]}, None),
        ({"query": [1.0, 0.0], "document": [1.0, 1e-7]}, None),
        ({"query": [0.0, 1.0]}, "query"),
        ({"query": [1.0, 0.0], "document": [0.9, 0.1]}, "document"),
    ],
)
def test_other_vectors_for_queries_or_documents_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: dict[str | None, list[float]], refused: str | None
) -> None:
    from thoth_models_builder.compile import reference
    from thoth_models_builder.compile.errors import UnusableModelError

    monkeypatch.setattr(reference, "load_checked", lambda *_, **__: Tasks({None: [1.0, 0.0], **others}))
    if refused is None:
        reference.Reference(tmp_path, runs_code=True)
        return
    with pytest.raises(UnusableModelError, match=f"for the task '{refused}', which encode_{refused} passes to it"):
        reference.Reference(tmp_path, runs_code=True)


TEXTS = golden_texts(40, {"query": "Query: "})


def refusal_of(model: TinyModel, monkeypatch: pytest.MonkeyPatch, vectors: Callable[[int, str, str], object]) -> str:
    """Return why golden vectors are refused that a function makes of number, prompt and text; empty if they are not."""
    from thoth_models_builder.compile.errors import UnusableModelError
    from thoth_models_builder.compile.reference import Reference

    reference = Reference(model.directory)
    made = [vectors(number, prompt, text) for number, (prompt, text) in enumerate(TEXTS)]
    monkeypatch.setattr(reference, "encode", lambda _: np.array(made, dtype=np.float32))
    try:
        reference.golden_vectors(TEXTS, 2)
    except UnusableModelError as error:
        return str(error)
    return ""


def test_golden_vectors_that_are_all_the_same_are_refused(
    wordpiece_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In which every variant would agree, as 1.00000: also where they differ by rounding, or with a prompt alone."""
    refused = "expected golden texts to differ in their vectors, found one for all 64"
    assert refusal_of(wordpiece_model, monkeypatch, lambda number, *_: [1, number]) == ""
    assert refusal_of(wordpiece_model, monkeypatch, lambda *_: [3, 4]) == refused
    assert refusal_of(wordpiece_model, monkeypatch, lambda number, *_: [1, 1 + number * 1e-9]) == refused
    assert refusal_of(wordpiece_model, monkeypatch, lambda *_: [0, 0]) == refused
    assert refusal_of(wordpiece_model, monkeypatch, lambda number, prompt, _: [1, number if prompt else 1]) == refused
    # As in the library, where a prompt fills the longest text.
    assert refusal_of(wordpiece_model, monkeypatch, lambda number, prompt, _: [1, 1 if prompt else number]) == ""


def test_golden_texts_of_which_the_same_tokens_are_left_are_refused(wordpiece_model: TinyModel) -> None:
    from thoth_models_builder.compile.errors import UnusableModelError
    from thoth_models_builder.compile.reference import Reference

    reference = Reference(wordpiece_model.directory)
    texts = [("", "river " * 80 + text) for _, text in TEXTS[:3]]
    with pytest.raises(UnusableModelError) as caught:
        reference.golden_vectors(texts, wordpiece_model.dimension)
    assert str(caught.value) == (
        "expected golden texts to differ in their vectors, found one for all 3, because the tokenizer and "
        "max_seq_length leave the same 64 token ids of them"
    )


def test_golden_vectors_have_the_length_that_was_locked(wordpiece_model: TinyModel) -> None:
    from thoth_models_builder.compile.errors import UnusableModelError
    from thoth_models_builder.compile.reference import Reference

    reference = Reference(wordpiece_model.directory)
    assert reference.golden_vectors(TEXTS[:2], 32).shape == (2, 32)
    with pytest.raises(
        UnusableModelError, match=r"^expected vectors of length 16, as the model's files state, found 32"
    ):
        reference.golden_vectors(TEXTS[:2], 16)
    with pytest.raises(
        UnusableModelError, match=r"^expected golden texts of which the tokenizer makes tokens, found none"
    ):
        reference.golden_vectors([], 32)
