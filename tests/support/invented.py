"""A bundle of invented models, and backends that cost nothing and keep account of themselves."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from tests.support.bundles import FakeBackend
from thoth_models import BackendError, EmbeddingManager, ManagerConfig
from thoth_models.manager.memory import resident_bytes
from thoth_models.verification.verify import open_bundle

if TYPE_CHECKING:
    import threading
    from pathlib import Path
    from typing import Any

    import pytest

    from thoth_models.types import Backend, FloatArray
    from thoth_models.verification.verify import VerifiedVariant

SECONDS = 30.0


class Backends:
    """Makes the backends, and keeps account of it."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.broken: set[str] = set()
        self.alive: weakref.WeakSet[Breakable] = weakref.WeakSet()
        self.hold: threading.Event | None = None
        self.wrong: Exception | None = None  # what the next call of any of them raises

    def __call__(self, verified: VerifiedVariant) -> Backend:
        place = f"{verified.model.name}/{verified.variant.name}"
        self.made.append(place)
        if self.hold is not None:
            assert self.hold.wait(SECONDS)
        if place in self.broken:
            raise BackendError(f"{place} is broken")
        made = Breakable(self, verified.model.dimension)
        self.alive.add(made)
        return made


class Breakable(FakeBackend):
    def __init__(self, backends: Backends, dimension: int) -> None:
        super().__init__(dimension)
        self._backends = backends

    def encode(self, texts: list[str], **options: Any) -> FloatArray:
        if self._backends.wrong is not None:
            # A new one each time: an error that is kept has the frames that it came through.
            raise type(self._backends.wrong)(*self._backends.wrong.args)
        return super().encode(texts, **options)


def manager(root: Path, **settings: Any) -> EmbeddingManager:
    return EmbeddingManager(ManagerConfig(root=root, **settings))


def size_of(root: Path, name: str) -> int:
    manifest = open_bundle(root).manifest
    built = manifest.models[name].built
    assert built is not None
    return resident_bytes(manifest, built.variants[0])


def budget_for(root: Path, count: int) -> int:
    """Return a budget that so many of the invented models fit into, and no more; their sizes differ by a few bytes."""
    return count * size_of(root, "two") + 1000


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[Any]:
    return [record for record in caplog.records if getattr(record, "event", None) == name]
