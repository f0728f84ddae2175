"""Fixtures of both sides of the switch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import FakeBackend, invented_model, make_bundle, make_writable, put_backend
from tests.support.hosted import IDENTITY, Client
from thoth_models import BackendError, ManagerConfig
from thoth_models.switching import Hosted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models.types import Backend
    from thoth_models.verification.verify import VerifiedVariant


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def hosted(client: Client) -> Hosted:
    return Hosted(make=client.make, identity=IDENTITY, dimension=4)


@pytest.fixture(autouse=True)
def broken(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Models whose backends cannot be made."""
    names: set[str] = set()

    def load_backend(verified: VerifiedVariant) -> Backend:
        if verified.model.name in names:
            raise BackendError(f"{verified.model.name} is broken")
        return FakeBackend(verified.model.dimension)

    put_backend(monkeypatch, load_backend)
    monkeypatch.delenv("THOTH_EMBEDDINGS", raising=False)
    return names


@pytest.fixture
def config(tmp_path: Path) -> Iterator[ManagerConfig]:
    root = tmp_path / "bundle"
    models = [
        invented_model("one", aliases=("uno",), alternates=(("two", "accept"),)),
        invented_model("two"),
        invented_model("gone", variants=(), alternates=(("two", "accept"),)),
        invented_model("strict", variants=(), alternates=(("two", "refuse"),)),
    ]
    make_bundle(root, models, default="one")
    yield ManagerConfig(root=root)
    make_writable(root)
