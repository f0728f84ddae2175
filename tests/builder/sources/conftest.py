"""Fixtures of the tests of sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.downloads import FILES, REPOSITORY, Downloads
from thoth_models_builder.storage.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.hub_simulator import HubSimulator


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def downloads(hub: HubSimulator, store: Store) -> Downloads:
    hub.add_model(REPOSITORY, FILES)
    return Downloads(hub, store)
