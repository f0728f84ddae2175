"""LangChain's embeddings over the bundle, with LangChain's own store and cache."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_core.stores import InMemoryByteStore
from langchain_core.vectorstores import InMemoryVectorStore

from tests.adapters.served import (
    assert_close,
    assert_the_extra_is_named,
    assert_the_loop_goes_on,
    expected,
)
from tests.adapters.worlds import COLUMNS, identity
from thoth_models import EmbeddingManager, FallbackWarning, InvalidInputError, SpaceMismatchError
from thoth_models.adapters.langchain import ThothEmbeddings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.adapters.worlds import Backends
    from thoth_models import ManagerConfig


def test_documents_and_queries_have_their_prompts(config: ManagerConfig) -> None:
    embeddings = ThothEmbeddings("mini", config=config)
    assert_close(embeddings.embed_documents(["a b", "c"]), [expected("a b", "document"), expected("c", "document")])
    assert_close([embeddings.embed_query("a b")], [expected("a b")])
    assert embeddings.embed_documents([]) == []


def test_the_default_model_and_aliases(config: ManagerConfig) -> None:
    for name in ("default", "legacy"):
        assert_close([ThothEmbeddings(name, config=config).embed_query("a")], [expected("a")])


def test_asynchronous_calls(config: ManagerConfig) -> None:
    embeddings = ThothEmbeddings("mini", config=config)

    async def work() -> tuple[list[list[float]], list[float]]:
        return await embeddings.aembed_documents(["a", "b"]), await embeddings.aembed_query("c")

    documents, query = asyncio.run(work())
    assert_close([*documents, query], [expected("a", "document"), expected("b", "document"), expected("c")])


def test_the_event_loop_goes_on(config: ManagerConfig, backends: Backends, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = ThothEmbeddings("mini", config=config)
    assert_the_loop_goes_on(config, backends, monkeypatch, lambda: embeddings.aembed_query("a"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda embeddings: embeddings.embed_documents(["a", None]),
            r"^sentences\[1\]: expected a str, found NoneType$",
        ),
        (lambda embeddings: embeddings.embed_documents("a"), "^texts: expected a list of texts, found a str$"),
        (lambda embeddings: embeddings.embed_query(["a"]), "^text: expected a str, found list$"),
        (lambda embeddings: asyncio.run(embeddings.aembed_query(None)), "^text: expected a str, found NoneType$"),
    ],
)
def test_what_is_no_text(config: ManagerConfig, call: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call(ThothEmbeddings("mini", config=config))


def test_arguments_are_looked_at_where_they_are_written() -> None:
    with pytest.raises(InvalidInputError, match=r"^model: expected a name, found NoneType$"):
        ThothEmbeddings(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"^config: expected a ManagerConfig or None, found dict$"):
        ThothEmbeddings(config={})  # type: ignore[arg-type]


def test_copies_answer_with_the_same_loaded_model(config: ManagerConfig) -> None:
    first = ThothEmbeddings("mini", config=config)
    others = [pickle.loads(pickle.dumps(first)), copy.deepcopy(first), ThothEmbeddings("mini", config=config)]  # noqa: S301
    for other in others:
        assert other == first
        assert hash(other) == hash(first)
        assert_close([other.embed_query("a")], [expected("a")])
    assert first != ThothEmbeddings("other", config=config)
    assert repr(first) == f"ThothEmbeddings('mini', config=ManagerConfig(root={config.root!r}))"
    assert EmbeddingManager.get_instance(config).stats().models["mini"].loads == 1


def test_the_space(config: ManagerConfig) -> None:
    assert ThothEmbeddings("mini", config=config).space == identity("mini")
    careful = type(config)(root=config.root, expect_spaces={"mini": identity("another")})
    with pytest.raises(SpaceMismatchError):
        ThothEmbeddings("mini", config=careful).embed_query("a")


def test_a_stand_in_warns(config: ManagerConfig, backends: Backends) -> None:
    backends.broken.add("lost/torch-fp32")
    with pytest.warns(FallbackWarning, match="other/torch-fp32 stands in for 'lost'"):
        ThothEmbeddings("lost", config=config).embed_query("a")


def test_a_store_of_langchain_finds_what_is_near(config: ManagerConfig) -> None:
    store = InMemoryVectorStore(ThothEmbeddings("mini", config=config))
    store.add_texts(COLUMNS)
    (best,) = store.similarity_search("price of the order in euros", k=1)
    assert best.page_content == "order total: price of the order in euros"


def test_a_cache_of_langchain_has_the_space_as_its_namespace(config: ManagerConfig, backends: Backends) -> None:
    store = InMemoryByteStore()

    def cached(model: str) -> CacheBackedEmbeddings:
        embeddings = ThothEmbeddings(model, config=config)
        return CacheBackedEmbeddings.from_bytes_store(
            embeddings, store, namespace=embeddings.space, key_encoder="sha256"
        )

    first = cached("mini").embed_documents(["a", "b"])
    assert_close(first, [expected("a", "document"), expected("b", "document")])
    backends.made["mini/torch-fp32"][0].batches.clear()
    assert cached("legacy").embed_documents(["a", "b"]) == first, "an alias has the same space"
    assert backends.batches == []
    assert cached("other").embed_documents(["a"]) != first[:1], "another space has keys of its own"
    assert backends.batches == [["a"]]


def test_the_code_of_the_page_runs(page: Callable[[str], dict[str, Any]]) -> None:
    names = page("langchain")
    assert names["best"].page_content == "customer city: where the customer lives"
    assert names["near"] == [names["best"]]
    assert names["tables"] == ["orders"]
    assert names["answer"] == names["again"] == [names["best"]]
    assert names["second"] == names["first"][1:]


def test_without_langchain_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_the_extra_is_named(monkeypatch, "langchain", "langchain_core", "langchain")
