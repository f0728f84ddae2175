"""Bundles for the adapters of vector stores, and a backend whose vectors mean something.

A *world* is a bundle as a service finds it; in another world, the same names may stand for other spaces.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import numpy as np

from tests.support.bundles import invented_model, make_bundle, put_backend
from thoth_models import BackendError, ManagerConfig
from thoth_models.bundle.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest

    from tests.support.bundles import ModelPlan
    from thoth_models.types import FloatArray
    from thoth_models.verification.verify import VerifiedVariant

DIMENSION = 64

COLUMNS = [
    "customer name: the full name of the customer",
    "customer city: where the customer lives",
    "order total: price of the order in euros",
    "order date: the day of the order",
    "supplier country: country where the supplier lives",
]
"""Descriptions of columns, as the first users index them."""


class WordBackend:
    """A direction for each word, a text is the sum of its words: shared words make texts near. Each seed is a space."""

    def __init__(self, seed: str, length: float = 1.0) -> None:
        self.seed = seed
        self.length = length
        self.batches: list[list[str]] = []
        self.options: list[tuple[int | None, bool]] = []

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        self.batches.append(texts)
        self.options.append((batch_size, show_progress_bar))
        return np.stack([self.vector(f"{prompt or ''}{text}") for text in texts])

    def vector(self, text: str) -> FloatArray:
        total = np.full(DIMENSION, 1e-3, dtype=np.float32)
        for word in re.findall(r"\w+", text.lower()):
            seed = hashlib.sha256(f"{self.seed} {word}".encode()).digest()
            total += np.random.default_rng(list(seed)).standard_normal(DIMENSION).astype(np.float32)
        return total * np.float32(self.length)


class Backends:
    """Makes the backends, and keeps them by place; those of ``broken`` cannot be made."""

    def __init__(self) -> None:
        self.made: dict[str, list[WordBackend]] = {}
        self.broken: set[str] = set()

    def __call__(self, verified: VerifiedVariant) -> WordBackend:
        place = f"{verified.model.name}/{verified.variant.name}"
        if place in self.broken:
            raise BackendError(f"{place} is broken")
        built = verified.model.built
        assert built is not None
        backend = WordBackend(built.space.hex)
        self.made.setdefault(place, []).append(backend)
        return backend

    @property
    def batches(self) -> list[list[str]]:
        return [batch for made in self.made.values() for backend in made for batch in backend.batches]


def use_words(monkeypatch: pytest.MonkeyPatch) -> Backends:
    """Have the runtime load these backends instead of files."""
    backends = Backends()
    put_backend(monkeypatch, backends)
    return backends


def world(root: Path, *models: ModelPlan, default: str = "mini") -> ManagerConfig:
    """Make a bundle and return settings for it."""
    make_bundle(root, models, default=default)
    return ManagerConfig(root=str(root))  # a string, as Chroma keeps it


def model(
    name: str,
    *,
    space: str | None = None,
    aliases: tuple[str, ...] = (),
    alternates: Sequence[tuple[str, str]] = (),
    prompts: dict[str, str] | None = None,
    normalize: bool = True,
) -> ModelPlan:
    return invented_model(
        name,
        aliases=aliases,
        alternates=tuple(alternates),
        dimension=DIMENSION,
        space=space,
        prompts=prompts,
        normalize=normalize,
    )


def identity(space: str) -> str:
    """The identity of a space of these worlds."""
    return Digest.of(space.encode()).hex
