"""Fixtures of the tests of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import FakeBackend, put_backend

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fake_backends(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    """The bundle is where commands look for one, and its models have no libraries."""
    put_backend(monkeypatch, lambda verified: FakeBackend(verified.model.dimension))
    monkeypatch.setenv("THOTH_MODELS_DIR", str(bundle))
