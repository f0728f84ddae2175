"""Real local collections of Qdrant's own client, in memory and in a directory."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import pickle
import threading
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from tests.adapters.qdrant_server import serving
from tests.adapters.worlds import COLUMNS, DIMENSION, identity, model, use_words, world
from tests.support.bundles import make_writable
from tests.support.pages import run_page
from thoth_models import (
    EmbeddingManager,
    EnvironmentFault,
    FallbackWarning,
    InvalidInputError,
    ManagerConfig,
    NotPicklableError,
    SpaceMismatchError,
)
from thoth_models.adapters.qdrant import AsyncThothCollection, ThothCollection, text_id

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.adapters.worlds import Backends

QUESTION = "in which city does the customer live?"


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> Backends:
    return use_words(monkeypatch)


@pytest.fixture
def config(tmp_path: Path, backends: Backends) -> Iterator[ManagerConfig]:
    yield world(
        tmp_path / "bundle",
        model("mini", space="one", aliases=("legacy",), alternates=[("other", "accept"), ("twin", "refuse")]),
        model("other", space="two"),
        model("twin", space="one"),
        model("asked", prompts={"query": "question ", "document": "passage "}),
        model("raw", normalize=False),
    )
    make_writable(tmp_path / "bundle")


@pytest.fixture
def elsewhere(tmp_path: Path, backends: Backends) -> Iterator[ManagerConfig]:
    """Another bundle, where ``mini`` is a model of another space."""
    yield world(tmp_path / "elsewhere", model("mini", space="three"), model("same", space="one"))
    make_writable(tmp_path / "elsewhere")


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


@pytest.fixture
def columns(client: QdrantClient, config: ManagerConfig) -> ThothCollection:
    """A collection with the columns in it."""
    collection = ThothCollection(client, "columns", "mini", config)
    assert collection.create()
    assert collection.upsert(COLUMNS, [{"table": text.split()[0]} for text in COLUMNS]) == len(COLUMNS)
    return collection


def texts_of(points: list[models.ScoredPoint]) -> list[str]:
    return [(point.payload or {})["text"] for point in points]


def test_texts_are_found_with_their_payloads(columns: ThothCollection) -> None:
    (best,) = columns.query(QUESTION, limit=1)
    assert best.payload == {"text": COLUMNS[1], "table": "customer"}
    assert texts_of(columns.query("total price in euros", limit=1)) == [COLUMNS[2]]
    only = models.Filter(must=[models.FieldCondition(key="table", match=models.MatchValue(value="order"))])
    found = columns.query(QUESTION, query_filter=only, with_vectors=True)
    assert {(point.payload or {})["table"] for point in found} == {"order"}
    assert all(point.vector is not None for point in found)


@pytest.mark.parametrize("threshold", [0.4, 0.35, 0.45])
def test_scores_are_dot_products_for_thresholds(
    threshold: float, columns: ThothCollection, config: ManagerConfig
) -> None:
    """Those of the first users, who compare raw dot products with them."""
    manager = EmbeddingManager.get_instance(config)
    scores = manager.encode_document(COLUMNS, "mini") @ manager.encode_query(QUESTION, "mini")
    ranked = [int(row) for row in np.argsort(-scores) if scores[row] >= threshold]
    found = columns.query(QUESTION, score_threshold=threshold)
    assert texts_of(found) == [COLUMNS[row] for row in ranked]
    assert [point.score for point in found] == pytest.approx([float(scores[row]) for row in ranked], abs=1e-5)
    assert 0 < len(found) < len(COLUMNS)


def test_a_directory_keeps_the_space(tmp_path: Path, config: ManagerConfig, elsewhere: ManagerConfig) -> None:
    with contextlib.closing(QdrantClient(path=str(tmp_path / "points"))) as client:
        collection = ThothCollection(client, "columns", "mini", config)
        assert collection.create(metadata={"owner": "shop"}, on_disk_payload=True)
        collection.upsert(COLUMNS)
    with contextlib.closing(QdrantClient(path=str(tmp_path / "points"))) as client:
        kept = client.get_collection("columns").config.metadata
        assert kept == {"owner": "shop", "thoth_models": {"space": identity("one"), "model": "mini"}}
        collection = ThothCollection(client, "columns", "legacy", config)
        assert not collection.create()
        assert collection.check() == identity("one")
        assert texts_of(collection.query(QUESTION, limit=1)) == [COLUMNS[1]]
        with pytest.raises(SpaceMismatchError):
            ThothCollection(client, "columns", "mini", elsewhere).create()


def calls(collection: ThothCollection) -> list[Callable[[], object]]:
    """All that writes or asks."""
    return [
        lambda: collection.upsert(["late"]),
        lambda: collection.query("late"),
        collection.check,
        collection.create,
        collection.adopt,
    ]


@pytest.mark.parametrize("which", range(5))
def test_another_space_under_the_name_is_refused(
    which: int, columns: ThothCollection, elsewhere: ManagerConfig
) -> None:
    other = ThothCollection(columns.client, "columns", "mini", elsewhere)
    with pytest.raises(SpaceMismatchError, match=r"Qdrant collection 'columns': expected") as caught:
        calls(other)[which]()
    assert identity("one") in str(caught.value)
    assert identity("three") in str(caught.value)
    assert columns.client.count("columns").count == len(COLUMNS)


def test_another_name_for_the_same_space_fits(columns: ThothCollection, elsewhere: ManagerConfig) -> None:
    same = ThothCollection(columns.client, "columns", "same", elsewhere)
    assert texts_of(same.query(QUESTION, limit=1)) == [COLUMNS[1]]


@pytest.mark.parametrize("which", range(4))
def test_a_collection_that_keeps_no_space_is_refused(which: int, client: QdrantClient, config: ManagerConfig) -> None:
    vectors = models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)
    client.create_collection("columns", vectors_config=vectors, metadata={"owner": "shop"})
    with pytest.raises(SpaceMismatchError, match=r"expected the embedding space of its vectors .* found none"):
        calls(ThothCollection(client, "columns", "mini", config))[which]()
    assert client.count("columns").count == 0


def test_a_collection_is_adopted_by_who_knows(
    client: QdrantClient, config: ManagerConfig, elsewhere: ManagerConfig
) -> None:
    vectors = models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)
    client.create_collection("columns", vectors_config=vectors, metadata={"owner": "shop"})
    collection = ThothCollection(client, "columns", "mini", config)
    collection.adopt()
    collection.adopt()
    collection.upsert(COLUMNS)
    assert texts_of(collection.query(QUESTION, limit=1)) == [COLUMNS[1]]
    assert (client.get_collection("columns").config.metadata or {})["owner"] == "shop"
    with pytest.raises(SpaceMismatchError):
        ThothCollection(client, "columns", "mini", elsewhere).adopt()


@pytest.mark.parametrize(
    ("vectors", "error", "message"),
    [
        (
            models.VectorParams(size=1536, distance=models.Distance.COSINE),
            SpaceMismatchError,
            r"expected vectors of length 64 by Dot or Cosine, found length 1536 by Cosine",
        ),
        (
            models.VectorParams(size=DIMENSION, distance=models.Distance.EUCLID),
            SpaceMismatchError,
            "found length 64 by Euclid",
        ),
        (
            {"title": models.VectorParams(size=DIMENSION, distance=models.Distance.DOT)},
            InvalidInputError,
            "expected a collection with one unnamed vector",
        ),
    ],
)
def test_vectors_that_cannot_be_of_the_space_are_not_adopted(
    vectors: Any, error: type[Exception], message: str, client: QdrantClient, config: ManagerConfig
) -> None:
    client.create_collection("columns", vectors_config=vectors)
    with pytest.raises(error, match=message):
        ThothCollection(client, "columns", "mini", config).adopt()
    assert not client.get_collection("columns").config.metadata


def test_a_stand_in_of_another_space_is_refused_and_said(
    columns: ThothCollection, config: ManagerConfig, backends: Backends
) -> None:
    manager = EmbeddingManager.get_instance(config)
    assert manager.unload()
    backends.broken.add("mini/torch-fp32")
    with (
        pytest.warns(FallbackWarning, match="other/torch-fp32 stands in for 'mini'"),
        pytest.raises(SpaceMismatchError, match=f"{identity('one')}, found {identity('two')}, .*stands in for 'mini'"),
    ):
        columns.query(QUESTION)
    with pytest.raises(SpaceMismatchError):
        columns.upsert(["late"])
    # The list accepts that stand-in, so whoever asks the manager gets it.
    assert manager.encode("city", "mini").shape == (DIMENSION,)
    assert columns.client.count("columns").count == len(COLUMNS)


def test_a_stand_in_of_the_same_space_answers(
    columns: ThothCollection, config: ManagerConfig, backends: Backends
) -> None:
    settings = replace(config, same_space=True)
    backends.broken.add("mini/torch-fp32")
    collection = ThothCollection(columns.client, "columns", "mini", settings)
    assert texts_of(collection.query(QUESTION, limit=1)) == [COLUMNS[1]]
    assert "twin/torch-fp32" in backends.made


def test_an_alias_that_is_pointed_elsewhere_is_seen(
    columns: ThothCollection, config: ManagerConfig, elsewhere: ManagerConfig
) -> None:
    """Blue and green: between two requests, the name gets another collection."""
    client = columns.client
    ThothCollection(client, "columns-2", "mini", elsewhere).create()

    def point(name: str) -> None:
        create = models.CreateAlias(collection_name=name, alias_name="live")
        client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])

    point("columns")
    live = ThothCollection(client, "live", "mini", config)
    assert texts_of(live.query(QUESTION, limit=1)) == [COLUMNS[1]]
    point("columns-2")
    with pytest.raises(SpaceMismatchError, match="'live'"):
        live.query(QUESTION)


def test_ids_follow_from_texts(columns: ThothCollection) -> None:
    assert columns.upsert([COLUMNS[0]], [{"table": "new"}]) == 1
    assert columns.client.count("columns").count == len(COLUMNS)
    (point,) = columns.client.retrieve("columns", [text_id(COLUMNS[0])])
    assert point.payload == {"text": COLUMNS[0], "table": "new"}
    # Written down, because points that exist are found by it.
    assert text_id("customer") == str(uuid.uuid5(uuid.UUID("a4a206c1-7535-4b4a-994c-e01951c38a76"), "customer"))


def test_ids_and_payloads_that_are_given_stay(client: QdrantClient, config: ManagerConfig) -> None:
    collection = ThothCollection(client, "columns", "mini", config)
    collection.create()
    named = uuid.uuid4()
    collection.upsert(["first", "first", "second"], [None, {"text": "own"}, {}], [7, str(named), named], text_key=None)
    assert {point.id: point.payload for point in client.scroll("columns")[0]} == {7: {}, str(named): {}}
    collection.upsert(["first"], [{"text": "own", "deep": {"list": [1]}}], [7])
    assert client.retrieve("columns", [7])[0].payload == {"text": "own", "deep": {"list": [1]}}


def test_an_iterable_is_read_batch_by_batch(client: QdrantClient, config: ManagerConfig, backends: Backends) -> None:
    collection = ThothCollection(client, "columns", "mini", config, batch_size=4)
    collection.create()
    in_store: list[int] = []

    def texts() -> Iterator[str]:
        for number in range(10):
            in_store.append(client.count("columns").count)
            yield f"text {number}"

    assert (
        collection.upsert(texts(), ({"number": number} for number in range(10)), itertools.islice(range(99), 10)) == 10
    )
    assert in_store == [0] * 4 + [4] * 4 + [8] * 2
    assert [len(batch) for batch in backends.batches] == [4, 4, 2]
    assert {point.id: (point.payload or {})["number"] for point in client.scroll("columns", limit=99)[0]} == {
        number: number for number in range(10)
    }


def test_nothing_is_written_of_nothing(columns: ThothCollection) -> None:
    assert columns.upsert([]) == 0
    assert columns.upsert(iter(()), iter(()), iter(())) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["fine"] * 5 + [None],), r"texts\[5\]: expected a str, found NoneType"),
        ((["fine", 3],), r"texts\[1\]: expected a str, found int"),
        ((["fine"] * 5 + ["\ud800"],), r"texts\[5\]: expected Unicode text, found a lone surrogate at 0$"),
        ((["a"], {"a": 1}), "payloads: expected an iterable of dicts, found dict"),
        ((["a"], ["a"]), "payloads: expected a dict or None for each text, found str"),
        ((["a", "b"], None, {1, 2}), "ids: expected an iterable of ids, found set"),
        (("fine",), "texts: expected an iterable of str, found str"),
        ((None,), "texts: expected an iterable of str, found NoneType"),
        ((["a", "b"], [{}]), "payloads: expected as many as the others, found 1"),
        ((["a", "b"], None, [1]), "ids: expected as many as the others, found 1"),
        ((["a"], [{}, {}]), "texts: expected as many as the others, found 1"),
    ],
)
def test_what_cannot_be_written_is_named(arguments: Any, message: str, columns: ThothCollection) -> None:
    columns._batch_size = 4  # so that the index is one of the texts, not of their batch
    with pytest.raises(InvalidInputError, match=message):
        columns.upsert(*arguments)


@pytest.mark.parametrize("wrong", [None, 3, ["list"]])
def test_what_cannot_be_asked_is_named(wrong: Any, columns: ThothCollection) -> None:
    with pytest.raises(InvalidInputError, match="text: expected a str"):
        columns.query(wrong)


@pytest.mark.parametrize("wrong", [0, True, "3", 2.5])
def test_batches_have_a_size(wrong: Any, client: QdrantClient) -> None:
    with pytest.raises(InvalidInputError, match="batch_size: expected an integer of at least 1"):
        ThothCollection(client, "columns", batch_size=wrong)
    with pytest.raises(InvalidInputError, match="model: expected a name, found NoneType"):
        ThothCollection(client, "columns", None)  # type: ignore[arg-type]


def test_each_batch_is_compared_with_what_the_collection_keeps_then(
    columns: ThothCollection, client: QdrantClient, config: ManagerConfig
) -> None:
    """Texts may come for hours, and the name be an alias that is pointed elsewhere meanwhile."""
    columns._batch_size = 2

    def texts() -> Iterator[str]:
        yield from ("a", "b")
        client.delete_collection("columns")
        ThothCollection(client, "columns", "other", config).create()
        yield "c"

    with pytest.raises(SpaceMismatchError):
        columns.upsert(texts())
    assert client.count("columns").count == 0


def test_the_space_that_a_collection_is_made_with_is_its_models(client: QdrantClient, config: ManagerConfig) -> None:
    """Whatever a caller's metadata says, such as those of a collection that was read."""
    collection = ThothCollection(client, "columns", "mini", config)
    assert collection.create(metadata={"thoth_models": {"space": identity("two")}, "owner": "shop"})
    assert collection.check() == identity("one")


def test_what_follows_from_the_model_is_no_option(client: QdrantClient, config: ManagerConfig) -> None:
    columns = ThothCollection(client, "columns", "mini", config)
    with pytest.raises(InvalidInputError, match="expected other options of create_collection, found vectors_config"):
        columns.create(vectors_config=None)


def test_queries_and_documents_have_their_prompts(client: QdrantClient, config: ManagerConfig) -> None:
    collection = ThothCollection(client, "columns", "asked", config)
    collection.create()
    collection.upsert(["question passage"], ids=[1])
    (point,) = client.retrieve("columns", [1], with_vectors=True)
    manager = EmbeddingManager.get_instance(config)
    assert point.vector == pytest.approx(manager.encode_document("question passage", "asked").tolist())
    score = collection.query("question passage")[0].score
    expected = manager.encode_document("question passage", "asked") @ manager.encode_query("question passage", "asked")
    assert score == pytest.approx(float(expected), abs=1e-5)
    assert score < 0.999


@pytest.mark.usefixtures("backends")
@pytest.mark.parametrize(
    ("similarity", "lengths", "expected"),
    [
        ("cosine", "unit", models.Distance.DOT),
        ("cosine", "own", models.Distance.COSINE),
        ("dot", "own", models.Distance.DOT),
        ("euclidean", "own", models.Distance.EUCLID),
        ("manhattan", "unit", models.Distance.MANHATTAN),
    ],
)
def test_the_measure_is_that_of_the_model(
    similarity: str, lengths: str, expected: models.Distance, client: QdrantClient, tmp_path: Path
) -> None:
    plan = replace(model("mini", normalize=lengths == "unit"), similarity=similarity)
    config = world(tmp_path / "measures", plan)
    ThothCollection(client, "columns", "mini", config).create()
    vectors = client.get_collection("columns").config.params.vectors
    assert vectors == models.VectorParams(size=DIMENSION, distance=expected)
    make_writable(tmp_path / "measures")


def test_the_model_is_the_one_that_the_manager_has_loaded(
    columns: ThothCollection, config: ManagerConfig, backends: Backends
) -> None:
    manager = EmbeddingManager.get_instance(config)
    manager.encode("something")
    columns.query(QUESTION)
    assert len(backends.made["mini/torch-fp32"]) == 1
    found = manager.stats().models["mini"]
    assert (found.loads, found.calls, found.texts) == (1, 3, len(COLUMNS) + 2)


def test_processes_that_start_at_once_make_one_collection(
    client: QdrantClient, config: ManagerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sees none, and one is quicker."""
    barrier = threading.Barrier(2, timeout=30)
    real = client.collection_exists
    waited: set[int] = set()

    def exists(name: str) -> bool:
        found = real(name)
        if threading.get_ident() not in waited:
            waited.add(threading.get_ident())
            barrier.wait()
        return found

    monkeypatch.setattr(client, "collection_exists", exists)
    made: list[bool] = []
    create = ThothCollection(client, "columns", "mini", config).create
    threads = [threading.Thread(target=lambda: made.append(create())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False, True]


def test_what_the_client_cannot_make_is_its_own_error(client: QdrantClient, config: ManagerConfig) -> None:
    with pytest.raises(ValueError, match="Collection name cannot contain"):
        ThothCollection(client, "a/b", "mini", config).create()


def test_a_server_gets_the_space_and_gives_it_back(config: ManagerConfig, elsewhere: ManagerConfig) -> None:
    with serving(keeps_metadata=True) as server:
        client = QdrantClient(url=server.url, check_compatibility=False)
        collection = ThothCollection(client, "columns", "mini", config)
        assert collection.create()
        sent = {"vectors": {"size": DIMENSION, "distance": "Dot"}}
        sent["metadata"] = {"thoth_models": {"space": identity("one"), "model": "mini"}}
        assert ("PUT", "/collections/columns", sent) in server.requests
        assert collection.check() == identity("one")
        assert collection.upsert(COLUMNS) == len(COLUMNS)
        method, path, body = server.requests[-1]
        assert (method, path) == ("PUT", "/collections/columns/points")
        assert np.shape(body["batch"]["vectors"]) == (len(COLUMNS), DIMENSION)
        with pytest.raises(SpaceMismatchError):
            ThothCollection(client, "columns", "mini", elsewhere).upsert(COLUMNS)
        assert len([path for _, path, _ in server.requests if path.endswith("/points")]) == 1
        client.close()


def test_a_server_that_keeps_no_metadata_gets_no_collection(config: ManagerConfig) -> None:
    with serving(keeps_metadata=False) as server:
        client = QdrantClient(url=server.url, check_compatibility=False)
        collection = ThothCollection(client, "columns", "mini", config)
        with pytest.raises(
            EnvironmentFault, match=r"expected a server that stores the metadata of collections .*1\.16"
        ):
            collection.create()
        assert server.collections == {}
        vectors = models.VectorParams(size=DIMENSION, distance=models.Distance.DOT)
        client.create_collection("columns", vectors_config=vectors)
        with pytest.raises(EnvironmentFault, match="stores the metadata"):
            collection.adopt()
        assert list(server.collections) == ["columns"]
        client.close()


def test_an_asynchronous_client(
    tmp_path: Path, config: ManagerConfig, elsewhere: ManagerConfig, backends: Backends
) -> None:
    async def use() -> None:
        client = AsyncQdrantClient(path=str(tmp_path / "points"))
        collection = AsyncThothCollection(client, "columns", "mini", config)
        assert await collection.create(metadata={"owner": "shop"})
        assert not await collection.create()
        assert await collection.upsert(COLUMNS, [{"row": row} for row in range(5)]) == 5
        assert await collection.check() == identity("one")
        found = await collection.query(QUESTION, limit=1, score_threshold=0.35)
        assert [point.payload for point in found] == [{"text": COLUMNS[1], "row": 1}]
        other = AsyncThothCollection(client, "columns", "mini", elsewhere)
        for call in (other.create, other.check, other.adopt, lambda: other.query("x"), lambda: other.upsert(["x"])):
            with pytest.raises(SpaceMismatchError):
                await call()
        vectors = models.VectorParams(size=DIMENSION, distance=models.Distance.DOT)
        await client.create_collection("bare", vectors_config=vectors)
        bare = AsyncThothCollection(client, "bare", "mini", config)
        with pytest.raises(SpaceMismatchError, match="found none"):
            await bare.query("x")
        await bare.adopt()
        assert await bare.upsert(["x"]) == 1
        with pytest.raises(ValueError, match="Collection name cannot contain"):
            await AsyncThothCollection(client, "a/b", "mini", config).create()
        await client.close()

    asyncio.run(use())


def test_an_asynchronous_client_of_a_server_that_keeps_no_metadata(config: ManagerConfig) -> None:
    async def use(url: str) -> None:
        client = AsyncQdrantClient(url=url, check_compatibility=False)
        with pytest.raises(EnvironmentFault, match="stores the metadata"):
            await AsyncThothCollection(client, "columns", "mini", config).create()
        await client.close()

    with serving(keeps_metadata=False) as server:
        asyncio.run(use(server.url))
        assert server.collections == {}


def test_without_the_client_the_error_names_the_extra(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    result = run_python("-c", "import sys; sys.modules['qdrant_client'] = None; import thoth_models.adapters.qdrant")
    assert (
        "BackendUnavailableError: The client of Qdrant is not installed: install thoth-models[qdrant]" in result.stderr
    )
    lazy = "import sys, thoth_models.adapters; assert 'qdrant_client' not in sys.modules"
    assert run_python("-c", lazy).returncode == 0


@pytest.mark.torch
@pytest.mark.parametrize("name", ["mini", "multilingual", "prompted"])
def test_a_real_backend_ranks_as_its_dot_products(name: str, tiny_bundle: Path, client: QdrantClient) -> None:
    config = ManagerConfig(root=tiny_bundle)
    collection = ThothCollection(client, "columns", name, config)
    collection.create()
    collection.upsert(COLUMNS)
    embedding = EmbeddingManager.get_instance(config).get_model(name)
    scores = embedding.similarity(embedding.encode_query(QUESTION), embedding.encode_document(COLUMNS))[0]
    found = collection.query(QUESTION)
    assert texts_of(found) == [COLUMNS[row] for row in np.argsort(-scores)]
    assert [point.score for point in found] == pytest.approx(sorted(scores.tolist(), reverse=True), abs=1e-4)
    EmbeddingManager.get_instance(config).close()


@pytest.mark.torch
def test_the_page_runs(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THOTH_MODELS_DIR", str(tiny_bundle))
    EmbeddingManager.get_instance().close()
    names = run_page("docs/adapters/qdrant.md")
    names["client"].close()
    EmbeddingManager.get_instance().close()
    assert names["found"]
    assert names["count"] == 3


def test_a_collection_stays_in_the_process_of_its_client(columns: ThothCollection) -> None:
    assert copy.copy(columns) is copy.deepcopy(columns) is columns
    with pytest.raises(NotPicklableError, match="found that of 'columns' to be pickled; make a client and a Thoth"):
        pickle.dumps(columns)
