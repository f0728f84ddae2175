"""A bundle of invented models under the four old names, and backends that cost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import invented_model, make_bundle, make_writable, put_backend
from tests.support.old_names import OLD, Backends
from thoth_models import EmbeddingManager, ManagerConfig
from thoth_models.compat import MultilingualEmbeddingManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def backends(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backends]:
    backends = Backends()
    put_backend(monkeypatch, backends)
    yield backends
    MultilingualEmbeddingManager._instances.clear()
    MultilingualEmbeddingManager.preload_errors.clear()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "bundle"
    models = [
        invented_model("multi-small", aliases=("default", OLD["default"])),
        invented_model("multi-large", aliases=("large", OLD["large"]), dimension=16),
        invented_model("multi-quick", aliases=("fast", OLD["fast"]), dimension=12),
        invented_model(
            "mini", aliases=("legacy", OLD["legacy"]), prompts={"query": "query: ", "document": "passage: "}
        ),
    ]
    make_bundle(root, models, default="multi-small")
    yield root
    make_writable(root)


@pytest.fixture
def config(root: Path) -> ManagerConfig:
    return ManagerConfig(root=root)


@pytest.fixture
def moved(tmp_path: Path) -> Iterator[ManagerConfig]:
    """A bundle whose ``default`` is another model than it was; ``large`` is absent, ``fast`` is not listed."""
    root = tmp_path / "moved"
    models = [
        invented_model("mini", aliases=("default", "legacy", OLD["legacy"])),
        invented_model("multi-large", variants=(), aliases=("large", OLD["large"]), alternates=(("mini", "accept"),)),
        invented_model("strict", variants=(), aliases=("lost",), alternates=(("mini", "refuse"),)),
    ]
    make_bundle(root, models, default="mini")
    yield ManagerConfig(root=root)
    make_writable(root)


@pytest.fixture
def manager(config: ManagerConfig) -> EmbeddingManager:
    return EmbeddingManager.get_instance(config)
