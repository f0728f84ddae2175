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

    def encode_corpus(self, texts: Sequence[str]) -> FloatArray:
        """Return the vectors of many texts without a prompt, float32 of shape (len(texts), dimension)."""
        vectors = self._model.encode(list(texts), prompt="", show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(vectors, dtype=np.float32)
