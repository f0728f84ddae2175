"""Fixtures of the adapters of frameworks; those of vector stores make worlds of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adapters.served import PROMPTS
from tests.adapters.worlds import Backends, model, use_words, world
from tests.bundles import make_writable
from thoth_models import EmbeddingManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models import ManagerConfig


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> Backends:
    return use_words(monkeypatch)


@pytest.fixture
def config(tmp_path: Path, backends: Backends) -> Iterator[ManagerConfig]:
    """Two models, with prompts, and one that another stands in for with vectors of another space."""
    root = tmp_path / "bundle"
    config = world(
        root,
        model("mini", prompts=PROMPTS, aliases=("legacy",)),
        model("other", space="another"),
        model("lost", alternates=[("other", "accept")]),
    )
    yield config
    EmbeddingManager.get_instance(config).close()
    make_writable(root)
