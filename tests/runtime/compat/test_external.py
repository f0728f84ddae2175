"""The surface of ExternalEmbeddingManager, over invented models."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.old_names import Document, unit
from thoth_models import (
    EmbeddingManager,
    EnvironmentFault,
    FallbackWarning,
    InvalidInputError,
    ManagerConfig,
    UnknownModelError,
)
from thoth_models.compat import ExternalEmbeddingManager, LocalEmbeddingProvider, get_external_embedding_manager

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.old_names import Backends


def external(config: ManagerConfig, model: str = "default") -> ExternalEmbeddingManager:
    return ExternalEmbeddingManager(LocalEmbeddingProvider(model, config=config))


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        # thoth-vdbmanager 0.6.0 to 0.7.2
        (ExternalEmbeddingManager, ["provider", "enable_cache", "cache_size"]),
        (ExternalEmbeddingManager.from_config, ["config"]),
        (ExternalEmbeddingManager.from_env, []),
        (ExternalEmbeddingManager.encode_documents, ["self", "documents"]),
        (ExternalEmbeddingManager.encode_query, ["self", "query"]),
        (ExternalEmbeddingManager.encode_texts_async, ["self", "texts"]),
        (ExternalEmbeddingManager.get_model_info, ["self"]),
        (ExternalEmbeddingManager.clear_cache, ["self"]),
        (ExternalEmbeddingManager.get_cache_stats, ["self"]),
        (get_external_embedding_manager, ["config"]),
        # thoth-qdrant 0.1.11
        (ExternalEmbeddingManager.encode_texts, ["self", "texts"]),
        (ExternalEmbeddingManager.encode, ["self", "texts"]),
    ],
)
def test_signatures_of_the_released_wheels(function: Callable[..., Any], parameters: list[str]) -> None:
    found = inspect.signature(function).parameters.values()
    by_name_only = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    assert [each.name for each in found if each.kind not in by_name_only] == parameters


def test_texts_are_lists_of_lists_of_floats(config: ManagerConfig) -> None:
    vectors = external(config).encode_texts(["uno", ""])
    assert type(vectors) is list
    assert {type(vector) for vector in vectors} == {list}
    assert {type(value) for vector in vectors for value in vector} == {float}
    assert vectors == [pytest.approx(unit("uno")), pytest.approx(unit(""))]


def test_no_texts_are_no_vectors(config: ManagerConfig) -> None:
    manager = external(config)
    assert manager.encode_texts([]) == manager.encode([]) == manager.encode(None) == []
    assert manager.provider.embed_texts([]) == []


def test_a_query(config: ManagerConfig) -> None:
    manager = external(config, "mini")
    assert manager.encode_query("  a ") == pytest.approx(unit("a", "query: "))
    for query in ("", " "):
        with pytest.raises(ValueError, match="query: expected a text"):
            manager.encode_query(query)


def test_encode_takes_one_text_or_several(config: ManagerConfig) -> None:
    manager = external(config)
    assert manager.encode("uno") == pytest.approx(unit("uno"))
    assert manager.encode(["uno", "due"]) == [pytest.approx(unit("uno")), pytest.approx(unit("due"))]
    assert manager.encode(iter(("uno",)), show_progress_bar=False) == [pytest.approx(unit("uno"))]


def test_encode_makes_texts_of_what_is_none_and_says_so(
    config: ManagerConfig, caplog: pytest.LogCaptureFixture
) -> None:
    assert external(config).encode(["a", None, 7]) == [pytest.approx(unit(text)) for text in ("a", "", "7")]
    assert "encode: 2 of 3 inputs are not str, and were converted" in caplog.text


@pytest.mark.parametrize("texts", [{"a": 1}, {"a"}, np.array([["a"]]), b"a", 7])
def test_encode_does_not_convert_what_has_no_texts_in_an_order(config: ManagerConfig, texts: Any) -> None:
    with pytest.raises(InvalidInputError, match="texts: expected a list of str, found"):
        external(config).encode(texts)


@pytest.mark.parametrize("texts", ["text", b"bytes", None, 7])
def test_encode_texts_wants_a_list(config: ManagerConfig, texts: Any) -> None:
    with pytest.raises(InvalidInputError, match="texts: expected a list of str, found"):
        external(config).encode_texts(texts)


def test_encode_texts_names_the_index_of_what_is_no_text(config: ManagerConfig) -> None:
    with pytest.raises(InvalidInputError, match=r"sentences\[1\]: expected a str, found NoneType"):
        external(config).encode_texts(["a", None])  # type: ignore[list-item]


def test_documents(config: ManagerConfig) -> None:
    documents = [Document("uno"), Document(None)]
    manager = external(config)
    assert manager.encode_documents(documents)[1] is documents[1]
    assert documents[0].embedding == pytest.approx(unit("uno"))
    assert manager.encode_documents([]) == []
    assert manager.encode_documents(each for each in documents) == documents  # what can be gone through once


def test_the_event_loop_goes_on_meanwhile(config: ManagerConfig) -> None:
    manager = external(config)

    async def run() -> tuple[list[list[float]], list[list[float]]]:
        return await manager.encode_texts_async(["uno"]), await manager.provider.embed_texts_async(["due"])

    first, second = asyncio.run(run())
    assert first == [pytest.approx(unit("uno"))]
    assert second == [pytest.approx(unit("due"))]


def test_the_model_is_loaded_when_it_is_made(config: ManagerConfig, backends: Backends) -> None:
    external(config, "large")
    assert backends.made == ["multi-large/torch-fp32"]
    with pytest.raises(UnknownModelError, match="no model or alias 'text-embedding-3-small'"):
        external(config, "text-embedding-3-small")


def test_a_hosted_provider_is_refused() -> None:
    class OpenAIProvider:
        provider_name = "openai"

    with pytest.raises(InvalidInputError, match="expected a LocalEmbeddingProvider or None, found OpenAIProvider"):
        ExternalEmbeddingManager(OpenAIProvider())  # type: ignore[arg-type]


def test_from_config(config: ManagerConfig) -> None:
    settings = {"provider": "local", "model": "large", "api_key": "x", "enable_cache": True, "cache_size": 5}
    manager = ExternalEmbeddingManager.from_config(settings, manager_config=config)
    assert len(manager.encode_query("a")) == 16
    assert len(get_external_embedding_manager({}, manager_config=config).encode_query("a")) == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"provider": "openai", "api_key": "x"},
            r"config\['provider'\]: expected 'local', found 'openai'; hosted providers are not supported here",
        ),
        ({"provider": "local", "modell": "x", "a": 1}, "config: expected keys among .*, found 'a', 'modell'"),
    ],
)
def test_settings_that_ask_for_something_else(config: ManagerConfig, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ExternalEmbeddingManager.from_config(settings, manager_config=config)


def test_from_env(config: ManagerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EMBEDDING_PROVIDER", "EMBEDDING_MODEL", "EMBEDDING_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert len(ExternalEmbeddingManager.from_env(manager_config=config).encode_query("a")) == 8
    monkeypatch.setenv("EMBEDDING_PROVIDER", "local")
    monkeypatch.setenv("EMBEDDING_MODEL", "fast")
    assert len(ExternalEmbeddingManager.from_env(manager_config=config).encode_query("a")) == 12


def test_an_environment_that_still_asks_for_a_hosted_provider(
    config: ManagerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDING_PROVIDER", "openai")
    with pytest.raises(EnvironmentFault, match="EMBEDDING_PROVIDER: expected 'local', found 'openai'"):
        ExternalEmbeddingManager.from_env(manager_config=config)


def test_an_old_name_of_another_model_is_told_where_the_manager_is_made(moved: ManagerConfig) -> None:
    with pytest.warns(FallbackWarning, match="mini .* answers for 'default', which meant") as found:
        manager = external(moved)
    assert found[0].filename == __file__
    info = manager.get_model_info()
    assert info["fallback"] == str(found[0].message)
    assert manager.provider.info is not None
    assert manager.provider.info.fallback == info["fallback"]


def test_model_info_and_cache_stats(config: ManagerConfig) -> None:
    manager = external(config, "large")
    info = manager.get_model_info()
    assert len(info.pop("space")) == 64
    assert info == {
        "provider_name": "local",
        "model_name": "multi-large",
        "embedding_dimension": 16,
        "max_batch_size": 1024,
        "cache_enabled": False,
        "cache_size": 0,
        "is_external": False,
        "supports_multilingual": True,
        "fallback": None,
    }
    manager.clear_cache()
    assert manager.get_cache_stats() == {"cache_enabled": False}
    assert (manager.enable_cache, manager.cache) == (False, None)


def test_metrics_of_thoth_qdrant(config: ManagerConfig) -> None:
    manager = external(config, "large")
    assert manager.get_metrics()["avg_embedding_time"] == 0
    manager.encode_texts(["a", "b"])
    metrics = manager.get_metrics()
    spent = EmbeddingManager.get_instance(config).stats().models["multi-large"].encode_seconds
    assert metrics == {
        "embeddings_generated": 2,
        "cache_hits": 0,
        "cache_misses": 0,
        "total_time": spent,
        "errors": 0,
        "cache_hit_rate": 0,
        "avg_embedding_time": spent / 2,
    }


def test_the_provider_has_the_methods_of_one(config: ManagerConfig, caplog: pytest.LogCaptureFixture) -> None:
    provider = LocalEmbeddingProvider("fast", config=config)
    assert provider.info is None
    assert (provider.provider_name, provider.model, provider.get_dimensions()) == ("local", "fast", 12)
    assert provider.validate_connection() is True
    assert provider.embed_query(" a") == pytest.approx(unit("a", dimension=12))
    assert LocalEmbeddingProvider("none", config=config).validate_connection() is False
    assert "the model 'none' cannot be loaded: no model or alias 'none'" in caplog.text
