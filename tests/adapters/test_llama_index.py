"""LlamaIndex's embedding model over the bundle, with LlamaIndex's own index."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import TextNode

from tests.adapters.served import (
    assert_close,
    assert_the_extra_is_named,
    assert_the_loop_goes_on,
    expected,
)
from tests.adapters.worlds import COLUMNS, identity
from thoth_models import EmbeddingManager, FallbackWarning, InvalidInputError, SpaceMismatchError
from thoth_models.adapters.llama_index import ThothEmbedding

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.adapters.worlds import Backends
    from thoth_models import ManagerConfig


def test_documents_and_queries_have_their_prompts(config: ManagerConfig) -> None:
    model = ThothEmbedding("mini", config=config)
    assert_close([model.get_query_embedding("a b")], [expected("a b")])
    assert_close([model.get_text_embedding("a b")], [expected("a b", "document")])
    assert_close(model.get_text_embedding_batch(["a", "b"]), [expected("a", "document"), expected("b", "document")])
    assert model.get_text_embedding_batch([]) == []


def test_asynchronous_calls(config: ManagerConfig) -> None:
    model = ThothEmbedding("mini", config=config)

    async def work() -> list[list[float]]:
        first = await model.aget_query_embedding("a")
        second = await model.aget_text_embedding("b")
        return [first, second, *await model.aget_text_embedding_batch(["c", "d"])]

    wanted = [expected("a"), *(expected(text, "document") for text in ("b", "c", "d"))]
    assert_close(asyncio.run(work()), wanted)


def test_the_event_loop_goes_on(config: ManagerConfig, backends: Backends, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ThothEmbedding("mini", config=config)
    assert_the_loop_goes_on(config, backends, monkeypatch, lambda: model.aget_text_embedding_batch(["a"]))


def test_texts_come_in_batches_of_the_size_that_was_set(config: ManagerConfig, backends: Backends) -> None:
    texts = [f"text {number}" for number in range(600)]
    ThothEmbedding("mini", config=config).get_text_embedding_batch(texts)
    assert [len(batch) for batch in backends.batches] == [256, 256, 88]
    backends.batches.clear()
    ThothEmbedding("mini", config=config, embed_batch_size=400).get_text_embedding_batch(texts)
    assert [len(batch) for batch in backends.batches][-2:] == [400, 200]


def test_it_is_written_down_and_made_again(config: ManagerConfig) -> None:
    careful = type(config)(
        root=config.root, variants=["torch-fp32"], expect_spaces={"mini": identity("mini")}, timeout=9
    )
    first = ThothEmbedding("mini", config=careful, embed_batch_size=7)
    written = json.loads(json.dumps(first.to_dict()))
    assert written["class_name"] == "ThothEmbedding"
    assert written["settings"] == {
        "root": config.root,
        "variants": ["torch-fp32"],
        "expect_spaces": {"mini": identity("mini")},
        "timeout": 9,
    }
    for other in (ThothEmbedding.from_dict(written), pickle.loads(pickle.dumps(first)), copy.deepcopy(first)):  # noqa: S301
        assert (other.model_name, other.embed_batch_size) == ("mini", 7)
        assert other._served == first._served
        assert_close([other.get_query_embedding("a")], [expected("a")])
    assert EmbeddingManager.get_instance(careful).stats().models["mini"].loads == 1
    EmbeddingManager.get_instance(careful).close()


def test_what_is_assigned_counts(config: ManagerConfig) -> None:
    model = ThothEmbedding("other", config=config)
    model.model_name = "mini"
    assert_close([model.get_query_embedding("a")], [expected("a")])
    assert model.space == identity("mini")


def test_settings_that_cannot_be_used() -> None:
    with pytest.raises(InvalidInputError, match="config: expected settings of a manager, found 'color'"):
        ThothEmbedding("mini", settings={"color": "red"})
    with pytest.raises(InvalidInputError, match="model: expected a name, found int"):
        ThothEmbedding(3)  # type: ignore[arg-type]


def test_arguments_that_there_are_not(config: ManagerConfig) -> None:
    """LlamaIndex drops them: a model of another name would answer, or nothing be expected of its space."""
    with pytest.raises(InvalidInputError, match="found model; use model_name for the model"):
        ThothEmbedding(model="legacy")
    with pytest.raises(InvalidInputError, match="expected arguments of ThothEmbedding, found confg, device"):
        ThothEmbedding("mini", confg=config, device="cuda")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.get_query_embedding(None), "^text: expected a str, found NoneType$"),
        (lambda model: model._get_text_embeddings(["a", 1]), r"^sentences\[1\]: expected a str, found int$"),
    ],
)
def test_what_is_no_text(config: ManagerConfig, call: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call(ThothEmbedding("mini", config=config))


def test_the_space(config: ManagerConfig) -> None:
    assert ThothEmbedding("mini", config=config).space == identity("mini")
    careful = type(config)(root=config.root, expect_spaces={"mini": identity("another")})
    with pytest.raises(SpaceMismatchError):
        ThothEmbedding("mini", config=careful).get_query_embedding("a")


def test_a_stand_in_warns(config: ManagerConfig, backends: Backends) -> None:
    backends.broken.add("lost/torch-fp32")
    with pytest.warns(FallbackWarning, match="other/torch-fp32 stands in for 'lost'"):
        ThothEmbedding("lost", config=config).get_query_embedding("a")


def test_an_index_of_llama_index_finds_what_is_near(config: ManagerConfig) -> None:
    model = ThothEmbedding("mini", config=config)
    index = VectorStoreIndex([TextNode(text=text) for text in COLUMNS], embed_model=model)
    (found,) = index.as_retriever(similarity_top_k=1).retrieve("price of the order in euros")
    assert found.node.get_content() == "order total: price of the order in euros"
    assert found.score == pytest.approx(
        sum(
            a * b
            for a, b in zip(expected("price of the order in euros"), expected(COLUMNS[2], "document"), strict=True)
        )
    )


def test_a_pipeline_of_llama_index_embeds_nodes(config: ManagerConfig) -> None:
    (node,) = IngestionPipeline(transformations=[ThothEmbedding("mini", config=config)]).run(nodes=[TextNode(text="a")])
    assert_close([node.embedding], [expected("a", "document")])


def test_a_pipeline_that_was_persisted_embeds_again_for_another_space(config: ManagerConfig, tmp_path: Path) -> None:
    """As the page says: what is expected of the space is part of what the pipeline keeps vectors by."""

    def pipeline(space: str) -> IngestionPipeline:
        careful = type(config)(root=config.root, expect_spaces={"mini": space})
        return IngestionPipeline(transformations=[ThothEmbedding("mini", config=careful)], disable_cache=False)

    first = pipeline(identity("mini"))
    first.run(nodes=[TextNode(text="a")])
    first.persist(str(tmp_path))
    again = pipeline(identity("mini"))
    again.load(str(tmp_path))
    assert len(again.run(nodes=[TextNode(text="a")])) == 1
    elsewhere = pipeline(identity("another"))
    elsewhere.load(str(tmp_path))
    with pytest.raises(SpaceMismatchError):  # not the vectors that were kept
        elsewhere.run(nodes=[TextNode(text="a")])


def test_the_code_of_the_page_runs(page: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "_embed_model", None)  # put back, after the page has set one
    names = page("llama-index")
    city = "customer city: where the customer lives"
    assert names["best"].text == city
    assert [found.text for found in names["again"]] == [city]
    assert names["answer"][0].metadata == {"table": "orders"}
    assert Settings.embed_model is names["embed_model"]
    assert_close([node.embedding for node in names["nodes"]][1:2], [expected(city, "document")])
    assert names["same"].to_dict() == names["written"]


def test_without_llama_index_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_the_extra_is_named(monkeypatch, "llama_index", "llama_index", "llama-index")
