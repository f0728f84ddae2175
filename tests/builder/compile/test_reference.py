"""The reference: plain sentence-transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

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
