"""A compiled bundle of models, for what is written about one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.bills import compiled_bundle
from tests.support.bundles import make_writable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models.bundle.manifest import Manifest


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory that is removed with the bundles in it, which are read-only."""
    yield tmp_path
    make_writable(tmp_path)


@pytest.fixture
def manifest(place: Path) -> Manifest:
    """The manifest of a compiled bundle at ``bundle`` in :func:`place`."""
    return compiled_bundle(place / "bundle")
