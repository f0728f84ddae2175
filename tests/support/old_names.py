"""The four names of thoth-vdbmanager, and what tests of the old interfaces compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tests.support.bundles import FakeBackend
from thoth_models import BackendError

if TYPE_CHECKING:
    from thoth_models.types import Backend
    from thoth_models.verification.verify import VerifiedVariant

OLD = {
    "default": "paraphrase-multilingual-MiniLM-L12-v2",
    "large": "paraphrase-multilingual-mpnet-base-v2",
    "fast": "distiluse-base-multilingual-cased",
    "legacy": "all-MiniLM-L6-v2",
}


class Backends:
    """Makes the backends; those of ``broken`` cannot be made."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.broken: set[str] = set()

    def __call__(self, verified: VerifiedVariant) -> Backend:
        place = f"{verified.model.name}/{verified.variant.name}"
        self.made.append(place)
        if place in self.broken:
            raise BackendError(f"{place} is broken")
        return FakeBackend(verified.model.dimension)


@dataclass
class Document:
    """What Haystack's documents have in common with each other, through its releases."""

    content: str | None
    id: str = "made of the content"
    embedding: list[float] | None = None


def unit(text: str, prompt: str = "", dimension: int = 8) -> list[float]:
    """Return the vector that the fake backend has for a text, at unit length."""
    vector = FakeBackend(dimension).vector(text, prompt)
    result: list[float] = (vector / np.float32(np.linalg.norm(vector))).tolist()
    return result
