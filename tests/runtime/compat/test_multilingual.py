"""The surface of thoth-vdbmanager 0.5 and 0.6, over invented models."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import logging
import pickle
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.old_names import OLD, Document, unit
from thoth_models import EmbeddingManager, FallbackWarning, InvalidInputError, ManagerConfig, UnknownModelError
from thoth_models.compat import (
    EmbeddingInitializationError,
    LegacyEmbeddingAdapter,
    LocalEmbeddingProvider,
    MultilingualEmbeddingManager,
    get_multilingual_embedding_manager,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.old_names import Backends


class PlainDocument:
    def __init__(self, content: str) -> None:
        self.content = content


# --- signatures, as the syntax trees of the released wheels have them ---


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (MultilingualEmbeddingManager, {"model_name": "default", "cache_dir": None}),
        (MultilingualEmbeddingManager.preload_model, {"model_name": "default", "cache_dir": None}),
        (get_multilingual_embedding_manager, {"model_name": "default", "cache_dir": None}),
        (MultilingualEmbeddingManager.get_available_models, {}),
        (MultilingualEmbeddingManager.clear_cache, {}),
        (MultilingualEmbeddingManager.encode_documents, {"self": ..., "documents": ...}),
        (MultilingualEmbeddingManager.encode_query, {"self": ..., "query": ...}),
        (MultilingualEmbeddingManager.get_document_embedder, {"self": ...}),
        (MultilingualEmbeddingManager.get_text_embedder, {"self": ...}),
        (MultilingualEmbeddingManager.get_model_info, {"self": ...}),
    ],
)
def test_signatures_of_the_released_wheels(function: Any, parameters: dict[str, Any]) -> None:
    """What is new can only be given by name, so that no old call can reach it."""
    found = inspect.signature(function).parameters
    old = {name: each for name, each in found.items() if each.kind is not inspect.Parameter.KEYWORD_ONLY}
    assert {
        name: ... if each.default is inspect.Parameter.empty else each.default for name, each in old.items()
    } == parameters


# --- encoding ---


def test_a_query_is_a_list_of_floats(config: ManagerConfig) -> None:
    vector = MultilingualEmbeddingManager("default", config=config).encode_query("  dove?\n")
    assert type(vector) is list
    assert {type(value) for value in vector} == {float}
    assert vector == pytest.approx(unit("dove?"))


@pytest.mark.parametrize("query", ["", "  \n"])
def test_an_empty_query_is_refused_as_it_was(config: ManagerConfig, query: str) -> None:
    with pytest.raises(ValueError, match="query: expected a text, found a blank str"):
        MultilingualEmbeddingManager(config=config).encode_query(query)


def test_a_query_that_is_no_text_is_refused(config: ManagerConfig) -> None:
    with pytest.raises(InvalidInputError, match="query: expected a str, found NoneType"):
        MultilingualEmbeddingManager(config=config).encode_query(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "dimension"), [("default", 8), ("large", 16), ("fast", 12), ("legacy", 8)])
def test_each_old_name_is_a_model_of_its_own(config: ManagerConfig, name: str, dimension: int) -> None:
    """Without any warning: warnings are errors here."""
    manager = MultilingualEmbeddingManager(name, config=config)
    assert len(manager.encode_query("a")) == dimension
    assert manager.info is not None
    assert manager.info.fallback is None


def test_documents_are_those_that_were_given_with_their_vectors(config: ManagerConfig) -> None:
    documents = [Document("uno"), Document(None), Document("tre")]
    found = MultilingualEmbeddingManager(config=config).encode_documents(documents)
    assert type(found) is list
    assert all(mine is given for mine, given in zip(found, documents, strict=True))
    for document in documents:
        assert document.id == "made of the content"
        assert type(document.embedding) is list
        assert document.embedding == pytest.approx(unit(document.content or ""))


def test_documents_of_another_kind(config: ManagerConfig) -> None:
    document = PlainDocument("uno")
    MultilingualEmbeddingManager(config=config).encode_documents([document])
    assert document.embedding == pytest.approx(unit("uno"))  # type: ignore[attr-defined]


def test_no_documents_need_no_model(config: ManagerConfig, backends: Backends) -> None:
    assert MultilingualEmbeddingManager("no such model", config=config).encode_documents([]) == []
    assert backends.made == []


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        (
            [Document("a"), "b"],
            r"documents\[1\]: expected a document with text content, found str; for plain texts",
        ),
        ([Document(7)], r"documents\[0\]: expected a document with text content, found Document"),  # type: ignore[arg-type]
        ("text", "documents: expected a list of documents, found str"),
        (None, "documents: expected a list of documents, found NoneType"),
    ],
)
def test_what_is_no_document_is_refused(config: ManagerConfig, documents: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        MultilingualEmbeddingManager(config=config).encode_documents(documents)


def test_queries_and_documents_have_the_prompts_of_the_model(config: ManagerConfig) -> None:
    manager = MultilingualEmbeddingManager("mini", config=config)
    assert manager.encode_query("a") == pytest.approx(unit("a", "query: "))
    (document,) = manager.encode_documents([Document("a")])
    assert document.embedding == pytest.approx(unit("a", "passage: "))


# --- the object ---


def test_what_is_copied_and_pickled_has_the_same_arguments(config: ManagerConfig) -> None:
    """And leaves the object of the default arguments alone, which pickle would make first, and then change."""
    default, large = MultilingualEmbeddingManager(), MultilingualEmbeddingManager("large", config=config)
    for copied in (pickle.loads(pickle.dumps(large)), copy.deepcopy(large), copy.copy(large)):  # noqa: S301 - our own
        assert copied is large
    assert pickle.loads(pickle.dumps(default)) is default  # noqa: S301
    assert (default.model_key, large.model_key) == ("default", "large")


@pytest.mark.parametrize("kind", [LegacyEmbeddingAdapter, LocalEmbeddingProvider])
def test_the_other_names_of_a_model_can_be_pickled(kind: Any, config: ManagerConfig, backends: Backends) -> None:
    first = kind("fast", config=config)
    encode = {LegacyEmbeddingAdapter: "encode", LocalEmbeddingProvider: "embed_query"}[kind]
    vector = getattr(first, encode)("dove")
    for copied in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first)):  # noqa: S301 - our own
        assert list(getattr(copied, encode)("dove")) == list(vector)
    assert backends.made == ["multi-quick/torch-fp32"]


def test_the_same_arguments_give_the_same_object(config: ManagerConfig) -> None:
    first = MultilingualEmbeddingManager("default", config=config)
    assert MultilingualEmbeddingManager("default", config=config) is first
    assert MultilingualEmbeddingManager(model_name="default", cache_dir=None, config=config) is first
    assert get_multilingual_embedding_manager(config=config) is first
    assert MultilingualEmbeddingManager("legacy", config=config) is not first
    assert MultilingualEmbeddingManager("default", "/some/where", config=config) is not first


def test_threads_that_ask_at_once_get_one_object_and_one_load(config: ManagerConfig, backends: Backends) -> None:
    together = threading.Barrier(8, timeout=30)
    found: list[tuple[MultilingualEmbeddingManager, list[float]]] = []

    def ask() -> None:
        together.wait()
        manager = MultilingualEmbeddingManager("large", config=config)
        found.append((manager, manager.encode_query("a")))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 8
    assert {id(manager) for manager, _ in found} == {id(found[0][0])}
    assert backends.made == ["multi-large/torch-fp32"]


def test_making_one_loads_nothing_and_writes_nothing(
    config: ManagerConfig, backends: Backends, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "cache"
    manager = MultilingualEmbeddingManager("default", str(place), config=config)
    assert backends.made == []
    assert not place.exists()
    assert manager.cache_dir == str(config.root)
    assert f"cache_dir={place} is not used: models come from the bundle at {config.root}" in caplog.text


def test_the_environment_says_where_the_bundle_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a service has it: no settings, one variable."""
    monkeypatch.setenv("THOTH_MODELS_DIR", str(root))
    EmbeddingManager.get_instance().close()  # one of another test knows another directory
    assert len(MultilingualEmbeddingManager().encode_query("a")) == 8
    assert MultilingualEmbeddingManager.get_available_models()["large"] == "multi-large"
    EmbeddingManager.get_instance().close()


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="model_name: expected a str, found list"):
        MultilingualEmbeddingManager(["default"])  # type: ignore[arg-type]


def test_clear_cache_forgets_objects_and_gives_models_up(
    config: ManagerConfig, manager: EmbeddingManager, backends: Backends
) -> None:
    first = MultilingualEmbeddingManager("default", config=config)
    first.encode_query("a")
    assert manager.stats().models["multi-small"].resident_bytes > 0
    MultilingualEmbeddingManager.clear_cache()
    assert manager.stats().models["multi-small"].resident_bytes == 0
    assert MultilingualEmbeddingManager("default", config=config) is not first
    first.encode_query("a")  # whoever kept one can go on
    assert backends.made == ["multi-small/torch-fp32"] * 2


# --- what it tells ---


def test_model_info_has_the_old_keys_and_loads_nothing(
    config: ManagerConfig, backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THOTH_MODELS_CONTAINER", "true")
    manager = MultilingualEmbeddingManager("large", config=config)
    info = manager.get_model_info()
    space = info.pop("space")
    assert info == {
        "model_name": "multi-large",
        "model_key": "large",
        "cache_dir": str(config.root),
        "is_docker": True,
        "initialized": False,
        "supports_multilingual": True,
        "embedding_dimension": 16,
        "fallback": None,
    }
    assert backends.made == []
    assert manager.model_name == "multi-large"
    manager.encode_query("a")
    after = manager.get_model_info()
    assert after["initialized"] is True
    assert manager.info is not None
    assert after["space"] == space == manager.info.space


def test_a_model_that_nobody_calls_multilingual_is_not(config: ManagerConfig) -> None:
    assert MultilingualEmbeddingManager("legacy", config=config).get_model_info()["supports_multilingual"] is False


def test_available_models_are_names_that_can_be_given(config: ManagerConfig) -> None:
    found = MultilingualEmbeddingManager.get_available_models(config=config)
    assert {name: found[name] for name in OLD} == {
        "default": "multi-small",
        "large": "multi-large",
        "fast": "multi-quick",
        "legacy": "mini",
    }
    for name, model in found.items():
        assert MultilingualEmbeddingManager(name, config=config).model_name == model


def test_available_models_leave_out_what_cannot_answer(moved: ManagerConfig) -> None:
    found = MultilingualEmbeddingManager.get_available_models(config=moved)
    assert found["large"] == found["default"] == "mini"  # its alternate is accepted
    assert "lost" not in found
    assert "fast" not in found


def test_available_models_follow_the_settings(moved: ManagerConfig) -> None:
    strict = dataclasses.replace(moved, same_space=True)
    assert "large" not in MultilingualEmbeddingManager.get_available_models(config=strict)
    with pytest.raises(EmbeddingInitializationError, match="no model of the embedding space of 'large' can answer"):
        MultilingualEmbeddingManager("large", config=strict).get_model_info()


# --- old space, new space ---


def test_an_alias_of_another_model_is_told_once(
    moved: ManagerConfig, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    manager = MultilingualEmbeddingManager("default", config=moved)
    reason = (
        "mini (tests/mini) answers for 'default', which meant paraphrase-multilingual-MiniLM-L12-v2 in thoth-vdbmanager"
    )
    assert manager.get_model_info()["fallback"].startswith(reason)
    with pytest.warns(FallbackWarning) as found:
        manager.encode_query("a")
    assert str(found[0].message).startswith(reason)
    assert found[0].filename == __file__
    assert manager.info is not None
    assert manager.info.fallback is not None
    assert manager.info.fallback.startswith(reason)
    assert manager.info.model == "mini"
    assert "fallback requested=" in caplog.text
    assert reason in caplog.text.replace('\\"', '"')
    manager.encode_query("a")
    EmbeddingManager.get_instance(moved).unload()
    manager.encode_query("a")  # also not when it was loaded again
    assert len(recwarn) == 0


def test_an_alternate_of_another_space_is_told_once(moved: ManagerConfig) -> None:
    manager = MultilingualEmbeddingManager("large", config=moved)
    assert "stands in for 'large'" in manager.get_model_info()["fallback"]
    with pytest.warns(FallbackWarning, match="mini/torch-fp32 stands in for 'large'") as found:
        manager.encode_query("a")
    assert len(found) == 1
    assert manager.info is not None
    assert manager.info.fallback == manager.get_model_info()["fallback"] == str(found[0].message)
    manager.encode_query("a")


def test_the_default_model_answers_for_default_and_is_told_where_it_is_another(bundle: Path) -> None:
    """Nothing is called ``default`` there."""
    with pytest.warns(FallbackWarning, match="mini .* answers for 'default', which meant paraphrase-multilingual"):
        MultilingualEmbeddingManager(config=ManagerConfig(root=bundle)).encode_query("a")


# --- what cannot be loaded ---


def test_an_old_name_that_is_not_listed_says_what_to_list(moved: ManagerConfig) -> None:
    manager = MultilingualEmbeddingManager("fast", config=moved)
    for ask in (lambda: manager.encode_query("a"), manager.get_model_info, lambda: manager.model_name):
        with pytest.raises(EmbeddingInitializationError) as error:
            ask()
        assert isinstance(error.value.__cause__, UnknownModelError)
        assert str(error.value).startswith(
            "no model could be loaded for 'fast': no model or alias 'fast' in the bundle"
        )
        assert "'fast' meant distiluse-base-multilingual-cased in thoth-vdbmanager" in str(error.value)
        assert "list a model for it in models.yaml with `aliases: [fast]`" in str(error.value)


def test_another_name_that_is_not_listed_gets_no_such_advice(moved: ManagerConfig) -> None:
    with pytest.raises(EmbeddingInitializationError) as error:
        MultilingualEmbeddingManager("legasy", config=moved).encode_query("a")
    assert "known, the nearest first: legacy" in str(error.value)
    assert "aliases:" not in str(error.value)


def test_preload_says_whether_it_worked(config: ManagerConfig, backends: Backends) -> None:
    assert MultilingualEmbeddingManager.preload_model("default", config=config) is True
    assert backends.made == ["multi-small/torch-fp32"]
    assert MultilingualEmbeddingManager.preload_errors == {}


def test_preload_logs_and_keeps_why_it_did_not(
    config: ManagerConfig, backends: Backends, caplog: pytest.LogCaptureFixture
) -> None:
    backends.broken.add("multi-large/torch-fp32")
    with caplog.at_level(logging.WARNING):
        assert MultilingualEmbeddingManager.preload_model("large", config=config) is False
    reason = MultilingualEmbeddingManager.preload_errors["large"]
    assert isinstance(reason, EmbeddingInitializationError)
    assert "multi-large/torch-fp32 is broken" in str(reason)
    assert "preload_model('large') failed: no model could be loaded for 'large'" in caplog.text
    backends.broken.clear()
    assert MultilingualEmbeddingManager.preload_model("large", config=config) is True
    assert MultilingualEmbeddingManager.preload_errors == {}


def test_preload_without_a_bundle_is_a_reason_too(tmp_path: Path) -> None:
    assert MultilingualEmbeddingManager.preload_model("x", config=ManagerConfig(root=tmp_path / "none")) is False
    assert "none" in str(MultilingualEmbeddingManager.preload_errors["x"])


def test_what_is_given_stays_a_dataclass(config: ManagerConfig) -> None:
    (found,) = MultilingualEmbeddingManager(config=config).encode_documents([Document("a")])
    assert dataclasses.asdict(found)["content"] == "a"
