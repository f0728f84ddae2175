"""Fixtures of the adapters of frameworks; those of vector stores make worlds of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.adapters.served import PROMPTS
from tests.adapters.worlds import Backends, model, use_words, world
from tests.support.bundles import make_writable
from tests.support.pages import run_page
from thoth_models import EmbeddingManager, ManagerConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


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


@pytest.fixture
def page(
    config: ManagerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Run the code of a page where a reader would: in an empty directory, with the bundle where the variable says."""
    monkeypatch.setenv("THOTH_MODELS_DIR", str(config.root))
    (tmp_path / "reader").mkdir()
    monkeypatch.chdir(tmp_path / "reader")
    EmbeddingManager.get_instance().close()
    ran: list[dict[str, Any]] = []

    def run(name: str) -> dict[str, Any]:
        ran.append(run_page(f"docs/adapters/{name}.md"))
        return ran[-1]

    yield run
    for value in (value for names in ran for value in names.values()):
        if isinstance(value, ManagerConfig):
            EmbeddingManager.get_instance(value).close()
    EmbeddingManager.get_instance().close()
