"""Haystack's components over the bundle, in Haystack's own pipelines and store."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore

from tests.adapters.served import (
    assert_close,
    assert_the_extra_is_named,
    assert_the_loop_goes_on,
    expected,
)
from tests.adapters.worlds import COLUMNS, identity
from thoth_models import EmbeddingManager, FallbackWarning, InvalidInputError, SpaceMismatchError
from thoth_models.adapters.haystack import ThothDocumentEmbedder, ThothTextEmbedder
from thoth_models.adapters.serving import ServedModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.adapters.worlds import Backends
    from thoth_models import ManagerConfig

MODULE = "thoth_models.adapters.haystack"


def test_a_text_and_documents_have_their_prompts(config: ManagerConfig) -> None:
    found = ThothTextEmbedder("mini", config).run("a b")
    assert_close([found["embedding"]], [expected("a b")])
    assert found["meta"] == {"model": "mini", "variant": "torch-fp32", "space": identity("mini")}
    documents = [Document(content="a b"), Document(content=None)]
    found = ThothDocumentEmbedder("mini", config).run(documents)
    assert_close(
        [document.embedding for document in found["documents"]], [expected("a b", "document"), expected("", "document")]
    )
    assert [document.id for document in found["documents"]] == [document.id for document in documents]
    assert [document.embedding for document in documents] == [None, None], "what was given stays as it was"
    assert ThothDocumentEmbedder("mini", config).run([])["documents"] == []


def test_documents_with_the_same_content_each_get_their_vector(config: ManagerConfig) -> None:
    twice = [Document(content="a", id="same"), Document(content="b", id="same")]
    found = ThothDocumentEmbedder("mini", config).run(twice)["documents"]
    assert_close([document.embedding for document in found], [expected("a", "document"), expected("b", "document")])


def test_what_is_put_around_a_text(config: ManagerConfig) -> None:
    text = ThothTextEmbedder("mini", config, prefix="before ", suffix=" after").run("a")
    assert_close([text["embedding"]], [expected("before a after")])
    embedder = ThothDocumentEmbedder(
        "mini", config, "<", ">", meta_fields_to_embed=["title", "year", "none", "missing"], embedding_separator=" | "
    )
    (document,) = embedder.run([Document(content="a", meta={"title": "t", "year": 1999, "none": None})])["documents"]
    assert_close([document.embedding], [expected("<t | 1999 | a>", "document")])


def test_batches_and_the_progress_bar_are_those_of_the_runtime(config: ManagerConfig, backends: Backends) -> None:
    documents = [Document(content=str(number)) for number in range(5)]
    ThothDocumentEmbedder("mini", config).run(documents)
    ThothDocumentEmbedder("mini", config, batch_size=2, progress_bar=True).run(documents)
    (backend,) = backends.made["mini/torch-fp32"]
    assert backend.options == [(None, False), (2, True)]


def test_what_is_assigned_counts(config: ManagerConfig) -> None:
    embedder = ThothTextEmbedder("other", config)
    assert embedder.run("a")["meta"]["model"] == "other"
    embedder.model = "mini"
    assert embedder.run("a")["meta"] == {"model": "mini", "variant": "torch-fp32", "space": identity("mini")}


def test_warming_up_loads_the_model_once(config: ManagerConfig) -> None:
    text, documents = ThothTextEmbedder(model="mini", config=config), ThothDocumentEmbedder(model="mini", config=config)
    manager = EmbeddingManager.get_instance(config)
    assert not manager.is_loaded("mini")
    text.warm_up()
    assert manager.is_loaded("mini")
    documents.warm_up()
    asyncio.run(documents.warm_up_async())
    assert manager.stats().models["mini"].loads == 1


def test_asynchronous_calls(config: ManagerConfig) -> None:
    text, documents = ThothTextEmbedder("mini", config), ThothDocumentEmbedder("mini", config)

    async def work() -> tuple[dict[str, Any], dict[str, Any]]:
        return await text.run_async("a"), await documents.run_async([Document(content="b")])

    first, second = asyncio.run(work())
    assert_close([first["embedding"], second["documents"][0].embedding], [expected("a"), expected("b", "document")])
    assert first["meta"] == second["meta"]


def test_pipelines_that_run_asynchronously(config: ManagerConfig) -> None:
    pipeline = Pipeline()
    pipeline.add_component("embed", ThothTextEmbedder("mini", config))
    found = asyncio.run(pipeline.run_async({"embed": {"text": "a"}}))
    assert_close([found["embed"]["embedding"]], [expected("a")])


def test_the_event_loop_goes_on(config: ManagerConfig, backends: Backends, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = ThothTextEmbedder("mini", config)
    assert_the_loop_goes_on(config, backends, monkeypatch, lambda: embedder.run_async("a"))


def test_warming_up_in_an_event_loop_loads_in_a_thread(config: ManagerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    monkeypatch.setattr(ServedModel, "info", lambda _: threads.append(threading.current_thread().name))
    asyncio.run(ThothTextEmbedder("mini", config).warm_up_async())
    assert threads[0].startswith("thoth-models-encode")


def test_settings_that_cannot_be_used(config: ManagerConfig) -> None:
    for size in (0, True, "3", 2.5):
        with pytest.raises(InvalidInputError, match="batch_size: expected an integer of at least 1 or None"):
            ThothDocumentEmbedder("mini", config, batch_size=size)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="meta_fields_to_embed: expected a list of names, found 'title'"):
        ThothDocumentEmbedder("mini", config, meta_fields_to_embed="title")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a", "expected a list of documents as input, found str; use ThothTextEmbedder for a str"),
        (["a"], "expected a list of documents as input, found str"),
        ([Document(content="a"), None], "expected a list of documents as input, found NoneType"),
    ],
)
def test_what_is_no_document(config: ManagerConfig, given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        ThothDocumentEmbedder("mini", config).run(given)


@pytest.mark.parametrize("given", [None, ["a"], Document(content="a")])
def test_what_is_no_text(config: ManagerConfig, given: Any) -> None:
    with pytest.raises(TypeError, match=r"ThothTextEmbedder: expected a str as input, found .*ThothDocumentEmbedder"):
        ThothTextEmbedder("mini", config).run(given)


def test_components_are_written_down_and_made_again(config: ManagerConfig) -> None:
    careful = type(config)(root=config.root, variants=("torch-fp32",), expect_spaces={"mini": identity("mini")})
    for component in (
        ThothTextEmbedder("mini", careful, prefix="p", suffix="s"),
        ThothDocumentEmbedder(
            "mini", careful, "p", "s", batch_size=3, meta_fields_to_embed=["title"], embedding_separator="-"
        ),
    ):
        written = json.loads(json.dumps(component.to_dict()))
        other = type(component).from_dict(written)
        assert other.to_dict() == written
        assert (other.model, other.config, other.prefix) == ("mini", careful, "p")
    plain = ThothTextEmbedder("mini").to_dict()
    assert plain["init_parameters"]["config"] == {}
    assert ThothTextEmbedder.from_dict(plain).config is None
    plain["init_parameters"]["config"] = {"color": "red"}
    with pytest.raises(InvalidInputError, match="config: expected settings of a manager, found 'color'"):
        ThothTextEmbedder.from_dict(plain)


def test_pipelines_index_and_search_also_when_they_come_from_yaml(config: ManagerConfig) -> None:
    store = InMemoryDocumentStore(embedding_similarity_function="dot_product")
    indexing = Pipeline()
    indexing.add_component("embed", ThothDocumentEmbedder("mini", config))
    indexing.add_component("write", DocumentWriter(store))
    indexing.connect("embed.documents", "write.documents")
    again = Pipeline.loads(indexing.dumps(), allowed_modules=[MODULE, "haystack.*"])
    again.get_component("write").document_store = store  # type: ignore[attr-defined]
    again.run({"embed": {"documents": [Document(content=text) for text in COLUMNS]}})
    searching = Pipeline()
    searching.add_component("embed", ThothTextEmbedder("mini", config))
    searching.add_component("find", InMemoryEmbeddingRetriever(store, top_k=1))
    searching.connect("embed.embedding", "find.query_embedding")
    (found,) = searching.run({"embed": {"text": "price of the order in euros"}})["find"]["documents"]
    assert found.content == "order total: price of the order in euros"


def test_the_space_and_a_stand_in(config: ManagerConfig, backends: Backends) -> None:
    careful = type(config)(root=config.root, expect_spaces={"mini": identity("another")})
    with pytest.raises(SpaceMismatchError):
        ThothTextEmbedder("mini", careful).warm_up()
    backends.broken.add("lost/torch-fp32")
    with pytest.warns(FallbackWarning, match="other/torch-fp32 stands in for 'lost'"):
        assert ThothTextEmbedder("lost", config).run("a")["meta"]["model"] == "other"


def test_haystack_is_told_nothing_of_the_model(config: ManagerConfig) -> None:
    assert ThothTextEmbedder("mini", config)._get_telemetry_data() == {}


def test_the_code_of_the_page_runs(page: Callable[[str], dict[str, Any]]) -> None:
    names = page("haystack")
    city = "customer city: where the customer lives"
    assert names["found"][0].content == names["again"][0].content == city
    assert names["answer"]["find"]["documents"][0].content == "order total: price of the order in euros"
    assert_close(
        [names["result"]["documents"][0].embedding], [expected("customers: where the customer lives", "document")]
    )
    assert "type: thoth_models.adapters.haystack.ThothTextEmbedder" in names["written"]


def test_without_haystack_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_the_extra_is_named(monkeypatch, "haystack", "haystack", "haystack")
