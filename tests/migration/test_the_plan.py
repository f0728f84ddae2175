"""What the plan of the migration names: that each answer exists, and the tests of the manager by the plan's names."""

from __future__ import annotations

import ast
import importlib
import re
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.adapters.worlds import COLUMNS, DIMENSION, identity, model, use_words, world
from tests.migration.guides import GUIDES, ROOT
from tests.support.bundles import make_writable
from thoth_models import EmbeddingManager, FallbackWarning, ManagerConfig, ModelUnavailableError
from thoth_models.compat import EnvironmentDetector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.adapters.worlds import Backends

PAGE = (GUIDES / "the-plan.md").read_text(encoding="utf-8")
PLANNED = {
    "TestEmbeddingManager::test_model_caching",
    "TestEmbeddingManager::test_docker_environment_detection",
    "TestEmbeddingManager::test_fallback_strategies",
    "TestThothAIBeIntegration::test_embedding_workflow_complete",
    "TestThothAIUiIntegration::test_sql_generator_no_hang",
}


def names_of_tests(path: Path) -> set[str]:
    """Return the names of the tests in a file, with their class."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    return found


def test_every_test_and_file_on_the_page_exists() -> None:
    named = re.findall(r"`((?:tests|tools)/[\w/]+\.py)(?:::([\w:]+))?`", PAGE)
    assert {name for _, name in named} >= PLANNED
    for file, name in named:
        assert (ROOT / file).is_file(), file
        assert not name or name in names_of_tests(ROOT / file), name


def test_every_name_of_ours_on_the_page_can_be_imported() -> None:
    named = set(re.findall(r"`(thoth_models[\w.]*)`", PAGE))
    assert {"thoth_models.ManagerConfig", "thoth_models.compat", "thoth_models_builder.net.retry"} <= named
    for name in named:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            place, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(place), attribute), name


@pytest.mark.parametrize("name", ["CacheStrategy", "DownloadStrategy"])
def test_the_names_of_the_plan_are_in_compat(name: str) -> None:
    assert hasattr(importlib.import_module("thoth_models.compat"), name)


class TestEmbeddingManager:
    """The manager, as the plan describes it."""

    @pytest.fixture
    def backends(self, monkeypatch: pytest.MonkeyPatch) -> Backends:
        return use_words(monkeypatch)

    @pytest.fixture
    def config(self, tmp_path: Path, backends: Backends) -> Iterator[ManagerConfig]:
        yield world(
            tmp_path / "bundle",
            model("mini", space="one", aliases=("default",), alternates=[("twin", "accept"), ("other", "accept")]),
            model("twin", space="one"),
            model("other", space="two"),
            model("alone", space="three"),
        )
        make_writable(tmp_path / "bundle")

    def test_model_caching(self, config: ManagerConfig, backends: Backends) -> None:
        """One manager for a process, one load of a model, whatever name it is asked for by."""
        manager = EmbeddingManager.get_instance(config)
        assert EmbeddingManager.get_instance(config) is manager
        first = manager.encode(COLUMNS, model="mini")
        again = EmbeddingManager.get_instance(config).encode(COLUMNS, model="default")
        assert first.shape == (len(COLUMNS), DIMENSION)
        assert np.array_equal(first, again)
        assert list(backends.made) == ["mini/torch-fp32"]
        assert len(backends.made["mini/torch-fp32"]) == manager.stats().models["mini"].loads == 1
        assert manager.encode([]).shape == (0, DIMENSION)

    def test_docker_environment_detection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The variables of ThothAI's compose file, and their negative; the result changes advice and nothing else."""
        for name in ("DOCKER_CONTAINER", "DOCKER_ENV", "KUBERNETES_SERVICE_HOST", "container"):
            monkeypatch.delenv(name, raising=False)
        for decided, expected in (("false", False), ("true", True)):
            monkeypatch.setenv("THOTH_MODELS_CONTAINER", decided)
            assert EnvironmentDetector.is_docker() is expected
            assert EnvironmentDetector.get_download_strategy().allows_download is False
        monkeypatch.delenv("THOTH_MODELS_CONTAINER")
        for variable, value in (("DOCKER_CONTAINER", "true"), ("DOCKER_ENV", "development")):
            monkeypatch.setenv(variable, value)
            assert EnvironmentDetector.is_docker()
            assert any(variable in reason for reason in EnvironmentDetector.reasons())
            monkeypatch.setenv(variable, "false")
            assert not any(variable in reason for reason in EnvironmentDetector.reasons())
            monkeypatch.delenv(variable)

    def test_fallback_strategies(self, config: ManagerConfig, backends: Backends) -> None:
        """The list decides what stands in: a model of the same space, and another one only with a warning."""
        manager = EmbeddingManager.get_instance(config)
        backends.broken.add("mini/torch-fp32")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            info = manager.get_model("mini").info
        assert (info.model, info.space) == ("twin", identity("one"))
        assert info.fallback is None  # the same vectors
        manager.close()

        backends.broken.add("twin/torch-fp32")
        manager = EmbeddingManager.get_instance(config)
        with pytest.warns(FallbackWarning, match="other"):
            info = manager.get_model("mini").info
        assert (info.model, info.space) == ("other", identity("two"))
        manager.close()

        backends.broken.add("alone/torch-fp32")
        with pytest.raises(ModelUnavailableError, match="alone/torch-fp32 is broken"):
            EmbeddingManager.get_instance(config).encode("city", model="alone")
