"""A list with the four names of thoth-vdbmanager parses, locks and builds, and each name loads its model."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import FakeBackend, make_writable, put_backend
from tests.support.projects import REPOSITORY, Project, model_files, spec_of, write_files
from thoth_models import EmbeddingManager, ManagerConfig
from thoth_models.compat import LegacyEmbeddingAdapter, MultilingualEmbeddingManager
from thoth_models_builder.spec.models_yaml import parse_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = {
    "multilingual-mini": (8, ["default", "paraphrase-multilingual-MiniLM-L12-v2"]),
    "multilingual-mpnet": (16, ["large", "paraphrase-multilingual-mpnet-base-v2"]),
    "distiluse": (12, ["fast", "distiluse-base-multilingual-cased"]),
    "mini": (8, ["legacy", "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"]),
}


def listed() -> dict[str, dict[str, object]]:
    return {
        name: {"sources": [{"directory": f"weights/{name}"}], "aliases": aliases}
        for name, (_, aliases) in MODELS.items()
    }


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ManagerConfig]:
    put_backend(monkeypatch, lambda verified: FakeBackend(verified.model.dimension))
    project = Project(tmp_path)
    for name, (dimension, _) in MODELS.items():
        write_files(tmp_path / "weights" / name, model_files(name, dimension=dimension))
    project.specify(listed())
    project.lock()
    project.build()
    yield ManagerConfig(root=project.output)
    make_writable(project.output)


def test_the_list_parses() -> None:
    models = spec_of(listed()).models
    assert {alias: name for name, model in models.items() for alias in model.aliases[:1]} == {
        "default": "multilingual-mini",
        "large": "multilingual-mpnet",
        "fast": "distiluse",
        "legacy": "mini",
    }


def test_the_list_of_the_documentation_parses() -> None:
    # The variable is where the pages are when the tests run away from the source tree.
    page = (Path(os.environ.get("THOTH_TEST_SOURCES", REPOSITORY)) / "docs/compat.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    spec = parse_spec(block.encode(), "models.yaml")
    assert {alias: name for name, model in spec.models.items() for alias in model.aliases} == {
        alias: name for name, (_, aliases) in MODELS.items() for alias in aliases[:2]
    }


def test_each_name_loads_the_model_that_it_stands_for(built: ManagerConfig) -> None:
    """Directories are no repositories: the aliases with the names of those say that the models are the old ones."""
    for name, (dimension, aliases) in MODELS.items():
        old = aliases[0]
        assert len(MultilingualEmbeddingManager(old, config=built).encode_query("a")) == dimension
        assert LegacyEmbeddingAdapter(old, config=built).encode(["a"]).shape == (1, dimension)
        assert EmbeddingManager.get_instance(built).get_model(old).info.model == name
    found = MultilingualEmbeddingManager.get_available_models(config=built)
    assert [found[old] for old in ("default", "large", "fast", "legacy")] == list(MODELS)
