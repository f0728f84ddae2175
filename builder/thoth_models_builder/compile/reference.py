"""The reference: plain sentence-transformers in fp32, used as without this project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from thoth_models_builder.compile.errors import UnusableModelError
from thoth_models_builder.compile.loading.load_checked import load_checked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from thoth_models.types import FloatArray


_QUERY: Final = "where is the river?"
_ALIKE: Final = 1e-6
"""Difference between vectors that are the same but for rounding, as a share of the largest component."""
_SAME: Final = 1e-5
"""Largest difference between two computations of the same text; another adapter changes components by 1e-2."""


class Reference:
    """A model directory, loaded with sentence-transformers.

    Args:
        directory: Absolute path of the directory, which contains the whole model.
        threads: Number of threads of torch, for the whole process.
        runs_code: Whether the model's own code may run; only in the sandbox.

    Raises:
        UnusableModelError: The library cannot load it, its weights or tokens are not complete, or it has other modules
            for queries than for documents.
    """

    def __init__(self, directory: Path, *, threads: int = 1, runs_code: bool = False) -> None:
        torch.set_num_threads(threads)
        self._model = load_checked(directory, runs_code=runs_code)
        if "task" in self._model.get_model_kwargs():
            self._refuse_other_queries()

    def encode(self, texts: Sequence[tuple[str, str]]) -> FloatArray:
        """Return the vectors of pairs of prompt and text, one at a time, float32 of shape (len(texts), dimension).

        They are encoded one at a time, so that neither padding nor other texts of a batch influence them.
        """
        vectors = [
            self._model.encode([text], prompt=prompt, show_progress_bar=False, convert_to_numpy=True)[0]
            for prompt, text in texts
        ]
        return np.asarray(vectors, dtype=np.float32)

    def _refuse_other_queries(self) -> None:
        """Refuse a model whose code computes something else in ``encode_query`` or ``encode_document`` than otherwise.

        The library passes their names as a task. A module that has other tasks raises; its default is computed then.
        """
        usual = self._model.encode([_QUERY], prompt="", show_progress_bar=False)
        for task in ("query", "document"):
            try:
                found = self._model.encode([_QUERY], prompt="", task=task, show_progress_bar=False)
            except Exception:  # noqa: BLE001, S112 - the module's own code, which has no such task
                continue
            if not np.allclose(found, usual, atol=_SAME):
                raise UnusableModelError(
                    f"expected one pipeline for queries and documents, found a module that computes something else for "
                    f"the task {task!r}, which encode_{task} passes to it"
                )

    def has_tokens(self, prompt: str, text: str) -> bool:
        """Return whether the library has a vector of a text: a transformer has none of a text without tokens."""
        first: Any = self._model[0]
        return isinstance(first, StaticEmbedding) or bool(
            first.tokenizer(f"{prompt}{text}", verbose=False)["input_ids"]
        )

    def golden_vectors(self, texts: Sequence[tuple[str, str]], dimension: int) -> FloatArray:
        """Return the vectors of golden texts, as :meth:`encode` does.

        Args:
            texts: Pairs of prompt and text.
            dimension: The length of a vector that the files of the model state.

        Raises:
            UnusableModelError: There are no texts, the vectors have another length, or all texts without a prompt have
                the same one, in which every variant would agree.
        """
        if not texts:
            raise UnusableModelError("expected golden texts of which the tokenizer makes tokens, found none")
        vectors = self.encode(texts)
        if vectors.shape[1:] != (dimension,):
            raise UnusableModelError(
                f"expected vectors of length {dimension}, as the model's files state, found {vectors.shape[-1]}"
            )
        # Without a prompt: one that fills max_seq_length leaves nothing of a text in the library either.
        rows = [row for row, (prompt, _) in enumerate(texts) if not prompt]
        tolerance = _ALIKE * float(np.abs(vectors).max())
        if len(rows) > 1 and np.allclose(vectors[rows], vectors[rows[0]], rtol=0, atol=tolerance):
            raise UnusableModelError(
                f"expected golden texts to differ in their vectors, found one for all {len(rows)}"
                f"{self._alike([texts[row][1] for row in rows])}"
            )
        return vectors

    def _alike(self, texts: Sequence[str]) -> str:
        """Return what the tokenizer makes of texts if it makes the same of all of them."""
        first: Any = self._model[0]
        if isinstance(first, StaticEmbedding):
            made = {tuple(first.tokenizer.encode(text, add_special_tokens=False).ids) for text in texts}
        else:
            made = {tuple(first.tokenizer(text, truncation=True, verbose=False)["input_ids"]) for text in texts}
        if len(made) > 1:
            return ""
        return f", because the tokenizer and max_seq_length leave the same {len(made.pop())} token ids of them"

    def encode_corpus(self, texts: Sequence[str]) -> FloatArray:
        """Return the vectors of many texts without a prompt, float32 of shape (len(texts), dimension)."""
        vectors = self._model.encode(list(texts), prompt="", show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(vectors, dtype=np.float32)
