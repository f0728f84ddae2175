"""The index: texts and their vectors, in a file that all workers read."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from thoth_be.embeddings import get_model

BATCH = 50


def add(texts: list[str]) -> None:
    """Add texts, in batches."""
    model = get_model()
    batches = [model.encode(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
    with _changing():
        known, vectors = _read()
        _write([*known, *texts], np.concatenate([vectors, *batches]) if known else np.concatenate(batches))


def clear() -> None:
    """Begin again."""
    Path(settings.INDEX_FILE).unlink(missing_ok=True)


def count() -> int:
    """Return how many texts there are."""
    return len(_read()[0])


def find(query: str, threshold: float, limit: int) -> list[dict[str, object]]:
    """Return the texts that are similar enough to a query, most similar first."""
    texts, vectors = _read()
    if not texts:
        return []
    scores = vectors @ get_model().encode(query)
    order = np.argsort(-scores)[:limit]
    return [{"text": texts[row], "score": float(scores[row])} for row in order if scores[row] >= threshold]


def _read() -> tuple[list[str], NDArray[np.float32]]:
    path = Path(settings.INDEX_FILE)
    if not path.exists():
        return [], np.empty((0, 0), dtype=np.float32)
    with np.load(path) as stored:
        return stored["texts"].tolist(), stored["vectors"]


def _write(texts: list[str], vectors: NDArray[np.float32]) -> None:
    path = Path(settings.INDEX_FILE)
    temporary = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(temporary, texts=np.array(texts), vectors=vectors)
    temporary.replace(path)


@contextmanager
def _changing() -> Iterator[None]:
    with Path(f"{settings.INDEX_FILE}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
