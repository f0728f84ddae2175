"""DockerModelManager and ModelCache, over invented models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from thoth_models import EmbeddingManager, FallbackWarning, ManagerConfig, ModelUnavailableError, UnknownModelError
from thoth_models.compat import DockerModelManager, ModelCache

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.old_names import Backends


def test_preloading_loads_everything_or_what_the_settings_say(
    config: ManagerConfig, root: Path, backends: Backends
) -> None:
    assert set(DockerModelManager.preload_common_models(config)) == {
        "multi-small",
        "multi-large",
        "multi-quick",
        "mini",
    }
    assert len(backends.made) == 4
    chosen = ManagerConfig(root=root, common_models=("legacy",))
    found = DockerModelManager().preload_common_models(chosen)
    assert found["legacy"].model == "mini"


def test_preloading_fails_loudly(config: ManagerConfig, backends: Backends) -> None:
    backends.broken.add("mini/torch-fp32")
    with pytest.raises(ModelUnavailableError, match="mini/torch-fp32 is broken"):
        DockerModelManager.preload_common_models(config)


def test_a_model_with_what_may_stand_in(moved: ManagerConfig) -> None:
    with pytest.warns(FallbackWarning, match="mini/torch-fp32 stands in for 'large'"):
        embedding = DockerModelManager.get_model_with_fallback("large", config=moved)
    assert embedding.info.model == "mini"
    assert embedding.info.fallback is not None
    assert DockerModelManager().get_model_with_fallback(config=moved).info.fallback is None
    with pytest.raises(UnknownModelError):
        DockerModelManager.get_model_with_fallback("none", config=moved)


def test_the_cache_has_what_the_manager_has(config: ManagerConfig, manager: EmbeddingManager) -> None:
    cache = ModelCache(config)
    assert cache.manager is manager
    assert (cache.size(), len(cache), list(cache)) == (0, 0, [])
    assert "default" not in cache
    assert cache.get("default") is None
    assert cache.get("default", "nothing") == "nothing"
    manager.encode("a", "multi-small")
    assert "default" in cache
    assert list(cache) == ["multi-small"]
    assert cache.contains("multi-small")
    assert not cache.contains("legacy")
    found = cache.get("default")
    assert found is not None
    assert found.info.model == "multi-small"
    assert cache.size() == 1


def test_the_cache_loads_what_is_asked_for_by_key(config: ManagerConfig, backends: Backends) -> None:
    cache = ModelCache(config)
    assert cache["legacy"].dimension == 8
    assert backends.made == ["mini/torch-fp32"]
    assert "legacy" in cache
    with pytest.raises(UnknownModelError):
        cache["none"]


def test_clearing_gives_up_what_nobody_uses(config: ManagerConfig) -> None:
    cache = ModelCache(config)
    kept = cache["legacy"]
    cache["large"]
    cache.clear()
    assert cache.size() == 1
    assert "legacy" in cache
    assert kept.encode("a").shape == (8,)


@pytest.mark.parametrize("name", ["none", "lost", 7, None, ["default"]])
def test_what_cannot_be_loaded_is_not_in_the_cache(moved: ManagerConfig, name: object) -> None:
    assert name not in ModelCache(moved)


def test_what_stands_in_for_an_absent_model_counts(moved: ManagerConfig) -> None:
    cache = ModelCache(moved)
    assert "large" not in cache
    cache["mini"]
    assert "large" in cache
