"""What the tests of the guides need: the real bundle, the released packages, a store and a provider."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.migration.hosted import HostedProvider, provider_serving
from tests.support.qdrant_points import QdrantServer, qdrant_serving
from tests.support.real_model import mini_bundle_at
from tests.support.released import ITS_CLIENT, THOTH_QDRANT, unpacked
from thoth_models import load_embedding

if TYPE_CHECKING:
    from collections.abc import Iterator

collect_ignore = ["replica_before"]
"""Services that run in copies."""


@pytest.fixture(scope="session")
def mini_bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bundle with the real model, by its aliases."""
    with mini_bundle_at(tmp_path_factory.mktemp("mini")) as bundle:
        yield bundle


@pytest.fixture(scope="session")
def packages(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Where thoth-qdrant and the client that its users have pinned are imported from."""
    cache = Path(pytestconfig.cache.mkdir("thoth-qdrant"))
    place = tmp_path_factory.mktemp("released")
    return [unpacked(pin, cache, place) for pin in (THOTH_QDRANT, ITS_CLIENT)]


@pytest.fixture(scope="module")
def qdrant() -> Iterator[QdrantServer]:
    with qdrant_serving() as server:
        yield server


@pytest.fixture(scope="module")
def provider(mini_bundle: Path) -> Iterator[HostedProvider]:
    with provider_serving(load_embedding("mini", root=mini_bundle)) as server:
        yield server
