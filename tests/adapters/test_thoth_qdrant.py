"""The released thoth-qdrant, as it is, with local collections of Qdrant's client in place of a server.

All of it runs twice: with the client that is installed, and with the one that thoth-qdrant was made for.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

import thoth_models
from tests.adapters.served import assert_the_loop_goes_on
from tests.adapters.worlds import COLUMNS, DIMENSION, identity, model, use_words, world
from tests.support.bundles import make_writable
from tests.support.pages import run_page
from tests.support.released import ITS_CLIENT, THOTH_QDRANT, unpacked
from thoth_models import (
    EmbeddingManager,
    FallbackWarning,
    InvalidInputError,
    ManagerConfig,
    ModelUnavailableError,
    SpaceMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from tests.adapters.worlds import Backends

INNER = "THOTH_TEST_THOTH_QDRANT_INNER"
"""Set in the second run."""

QUESTION = "in which city does the customer live?"


@pytest.fixture(scope="session")
def cache(pytestconfig: pytest.Config) -> Path:
    return Path(pytestconfig.cache.mkdir("thoth-qdrant"))


@pytest.fixture(scope="session")
def released(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The released package can be imported."""
    place = unpacked(THOTH_QDRANT, cache, tmp_path_factory.mktemp("thoth-qdrant"))
    sys.path.append(str(place))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its pydantic is of another age
        importlib.import_module("thoth_qdrant")
    yield place
    sys.path.remove(str(place))


@pytest.fixture
def adapter(released: Path) -> Iterator[ModuleType]:
    adapter = importlib.import_module("thoth_models.adapters.thoth_qdrant")
    yield adapter
    adapter.ThothQdrantStore._instances.clear()


@pytest.fixture
def client(released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantClient]:
    """A local client, which the store gets instead of one that connects."""
    client = QdrantClient(path=str(tmp_path / "points"))
    native = importlib.import_module("thoth_qdrant.adapter.qdrant_native")
    monkeypatch.setattr(native, "QdrantClient", lambda **address: client)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Payload indexes have no effect in the local Qdrant")
        yield client
    client.close()


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> Backends:
    return use_words(monkeypatch)


@pytest.fixture
def config(tmp_path: Path, backends: Backends) -> Iterator[ManagerConfig]:
    yield world(
        tmp_path / "bundle",
        model("mini", space="one", alternates=[("other", "accept")]),
        model("other", space="two"),
        model("asked", prompts={"query": "question ", "document": "passage "}),
    )
    make_writable(tmp_path / "bundle")


@pytest.fixture
def elsewhere(tmp_path: Path, backends: Backends) -> Iterator[ManagerConfig]:
    yield world(tmp_path / "elsewhere", model("mini", space="three"), model("same", space="one"))
    make_writable(tmp_path / "elsewhere")


def column(number: int) -> Any:
    """A document of thoth-qdrant for one of the columns."""
    from thoth_qdrant import ColumnNameDocument

    name, _, description = COLUMNS[number].partition(": ")
    table, _, short = name.partition(" ")
    return ColumnNameDocument(
        table_name=table,
        column_name=short,
        original_column_name=short,
        column_description=description,
        value_description="",
    )


def found_by(store: Any, question: str, **options: Any) -> list[str]:
    from thoth_qdrant import ThothType

    return [found.column_description for found in store.search_similar(question, ThothType.COLUMN_NAME, **options)]


def test_this_is_the_client_that_was_meant() -> None:
    assert (version("qdrant-client") == ITS_CLIENT.version) == (INNER in os.environ)
    assert hasattr(QdrantClient, "search") == (INNER in os.environ)  # what the search of the release is made of


def test_the_provider_is_what_thoth_qdrant_asks_for(adapter: ModuleType, config: ManagerConfig) -> None:
    from thoth_qdrant.core.embedding_manager import EmbeddingProvider, ExternalEmbeddingManager

    provider = adapter.ThothEmbeddingProvider("mini", config)
    assert isinstance(provider, EmbeddingProvider)
    manager = ExternalEmbeddingManager(provider)
    assert manager.get_model_info() == {
        "provider_name": "thoth-models",
        "model_name": "mini",
        "embedding_dimension": DIMENSION,
        "max_batch_size": 256,
        "cache_enabled": True,
        "cache_size": 0,
        "is_external": True,
    }
    expected = EmbeddingManager.get_instance(config).encode_document(COLUMNS, "mini")
    for _ in range(2):  # the second time from its cache, which tests the truth of what it has
        vectors = manager.encode_texts(COLUMNS)
        assert vectors == expected.tolist()
        assert type(vectors) is list
        assert type(vectors[0]) is list
        assert type(vectors[0][0]) is float
        assert manager.encode("where?") == provider.embed_query("where?")
    assert manager.get_metrics()["cache_hits"] == len(COLUMNS)
    assert asyncio.run(manager.encode_texts_async(COLUMNS)) == vectors
    assert provider.space == identity("one")


def test_queries_and_documents_have_their_prompts(adapter: ModuleType, config: ManagerConfig) -> None:
    provider = adapter.ThothEmbeddingProvider("asked", config)
    manager = EmbeddingManager.get_instance(config)
    assert provider.embed_query("city") == manager.encode_query("city", "asked").tolist()
    assert provider.embed_texts(["city"]) == [manager.encode_document("city", "asked").tolist()]
    assert asyncio.run(adapter.ThothEmbeddingProvider("asked", config).embed_texts_async(["city"])) == (
        provider.embed_texts(["city"])
    )


def test_nothing_of_nothing_and_errors_that_name_the_index(adapter: ModuleType, config: ManagerConfig) -> None:
    provider = adapter.ThothEmbeddingProvider("mini", config)
    assert provider.embed_texts([]) == []
    assert asyncio.run(provider.embed_texts_async([])) == []
    with pytest.raises(InvalidInputError, match=r"sentences\[1\]: expected a str, found NoneType"):
        provider.embed_texts(["fine", None])
    with pytest.raises(InvalidInputError, match="texts: expected a list of str, found str"):
        provider.embed_texts("fine")
    with pytest.raises(InvalidInputError, match="query: expected a str, found NoneType"):
        provider.embed_query(None)


def test_nothing_is_loaded_before_it_is_used_and_then_once(
    adapter: ModuleType, config: ManagerConfig, backends: Backends
) -> None:
    provider = adapter.ThothEmbeddingProvider("mini", config)
    assert provider.model == "mini"
    assert backends.made == {}
    EmbeddingManager.get_instance(config).encode("something", "mini")
    assert provider.validate_connection()
    assert len(backends.made["mini/torch-fp32"]) == 1


def test_the_reason_is_said_where_there_is_no_model(
    adapter: ModuleType, config: ManagerConfig, backends: Backends
) -> None:
    from thoth_qdrant.core.embedding_manager import ExternalEmbeddingManager

    backends.broken |= {"mini/torch-fp32", "other/torch-fp32"}
    with pytest.raises(ModelUnavailableError, match="mini/torch-fp32 is broken"):
        ExternalEmbeddingManager(adapter.ThothEmbeddingProvider("mini", config))


def test_a_provider_stays_in_its_space(adapter: ModuleType, config: ManagerConfig, backends: Backends) -> None:
    provider = adapter.ThothEmbeddingProvider("mini", config)
    provider.embed_query("city")
    assert EmbeddingManager.get_instance(config).unload()
    backends.broken.add("mini/torch-fp32")
    with pytest.warns(FallbackWarning), pytest.raises(SpaceMismatchError, match="stands in for 'mini'"):
        provider.embed_query("city")
    with pytest.raises(SpaceMismatchError):
        asyncio.run(provider.embed_texts_async(["city"]))
    with pytest.raises(SpaceMismatchError, match="expected vectors of the embedding space 0000"):
        adapter.ThothEmbeddingProvider("other", config, space="0" * 64).validate_connection()


def test_documents_are_found(adapter: ModuleType, client: QdrantClient, config: ManagerConfig) -> None:
    from thoth_qdrant import EvidenceDocument, ThothType

    store = adapter.ThothQdrantStore("shop", model="mini", config=config)
    ids = store.bulk_add_documents([column(number) for number in range(4)])
    ids.append(store.add_column_description(column(4)))
    store.add_evidence(EvidenceDocument(evidence="a customer lives in the city of the address"))
    assert client.count("shop").count == 6
    assert found_by(store, QUESTION, top_k=1, score_threshold=0.35) == ["where the customer lives"]
    assert found_by(store, "supplier country", top_k=1, score_threshold=0.35) == [column(4).column_description]
    assert found_by(store, "") == []
    (evidence,) = store.search_similar(QUESTION, ThothType.EVIDENCE, score_threshold=0.0)
    assert evidence.evidence == "a customer lives in the city of the address"
    assert store.get_document(ids[4]).column_name == "country"
    assert store.get_embedding_config()["dimensions"] == DIMENSION
    assert store.get_collection_info()["points_count"] == 6


def test_scores_are_dot_products(adapter: ModuleType, client: QdrantClient, config: ManagerConfig) -> None:
    store = adapter.ThothQdrantStore("shop", model="mini", config=config)
    documents = [column(number) for number in range(5)]
    store.bulk_add_documents(documents)
    manager = EmbeddingManager.get_instance(config)
    texts = [document.text for document in documents]
    scores = manager.encode_document(texts, "mini") @ manager.encode_query(QUESTION, "mini")
    for threshold in (0.4, 0.35, 0.45, float(np.sort(scores)[1]) + 1e-4):
        ranked = [int(row) for row in np.argsort(-scores) if scores[row] >= threshold]
        expected = [documents[row].column_description for row in ranked]
        assert found_by(store, QUESTION, score_threshold=threshold) == expected
    assert len(ranked) == 3


def test_single_documents_are_no_queries(adapter: ModuleType, client: QdrantClient, config: ManagerConfig) -> None:
    """In the release they are."""
    store = adapter.ThothQdrantStore("shop", model="asked", config=config)
    document = column(0)
    store.add_column_description(document)
    (point,) = client.retrieve("shop", [document.id], with_vectors=True)
    expected = EmbeddingManager.get_instance(config).encode_document(document.text, "asked")
    assert point.vector == pytest.approx(expected.tolist(), abs=1e-6)


def again(adapter: ModuleType, *arguments: Any, **options: Any) -> Any:
    """A store as another process makes it: thoth-qdrant has one for each collection of a process."""
    adapter.ThothQdrantStore._instances.clear()
    return adapter.ThothQdrantStore(*arguments, **options)


def test_a_collection_keeps_its_space(
    adapter: ModuleType, client: QdrantClient, config: ManagerConfig, elsewhere: ManagerConfig
) -> None:
    again(adapter, "shop", model="mini", config=config).bulk_add_documents([column(1)])
    assert found_by(again(adapter, "shop", model="mini", config=config), QUESTION, score_threshold=0.1)
    assert found_by(again(adapter, "shop", model="same", config=elsewhere), QUESTION, score_threshold=0.1)
    (alias,) = client.get_collection_aliases("shop").aliases  # one, however often it was opened
    assert identity("one") in alias.alias_name
    expected = f"collection 'shop': expected the embedding space {identity('three')} of 'mini', found {identity('one')}"
    for adopt in (False, True):
        with pytest.raises(SpaceMismatchError, match=expected):
            again(adapter, "shop", model="mini", config=elsewhere, adopt=adopt)
    client.delete_collection("shop")
    assert again(adapter, "shop", model="mini", config=elsewhere).get_collection_info()["points_count"] == 0


def test_a_stand_in_of_another_space_is_refused_and_said(
    adapter: ModuleType, client: QdrantClient, config: ManagerConfig, backends: Backends
) -> None:
    """Not swallowed: the release finds nothing where a search fails."""
    store = adapter.ThothQdrantStore("shop", model="mini", config=config)
    store.bulk_add_documents([column(1)])
    assert EmbeddingManager.get_instance(config).unload()
    backends.broken.add("mini/torch-fp32")
    with pytest.warns(FallbackWarning, match="stands in"), pytest.raises(SpaceMismatchError, match=identity("two")):
        found_by(store, QUESTION)
    with pytest.raises(SpaceMismatchError):
        store.add_column_description(column(0))
    assert client.count("shop").count == 1
    with pytest.raises(SpaceMismatchError, match=f"{identity('two')} of 'mini', found {identity('one')}"):
        again(adapter, "shop", model="mini", config=config)


def test_a_collection_of_the_release_is_adopted_by_who_knows(
    adapter: ModuleType, client: QdrantClient, config: ManagerConfig
) -> None:
    vectors = models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)
    client.create_collection("shop", vectors_config=vectors)
    client.upsert("shop", [models.PointStruct(id=1, vector=[1.0] * DIMENSION)])
    with pytest.raises(SpaceMismatchError, match="found none"):
        again(adapter, "shop", model="mini", config=config)
    again(adapter, "shop", model="mini", config=config, adopt=True)
    again(adapter, "shop", model="mini", config=config).bulk_add_documents([column(1)])
    client.create_collection("hosted", vectors_config=models.VectorParams(size=1536, distance=models.Distance.COSINE))
    with pytest.raises(SpaceMismatchError, match=rf"expected vectors of length {DIMENSION}, found .*1536"):
        again(adapter, "hosted", model="mini", config=config, adopt=True)


def test_a_collection_that_another_process_is_about_to_record(
    adapter: ModuleType, client: QdrantClient, config: ManagerConfig, elsewhere: ManagerConfig
) -> None:
    vectors = models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)
    client.create_collection("shop", vectors_config=vectors)
    again(adapter, "shop", model="mini", config=config)
    with pytest.raises(SpaceMismatchError, match=identity("one")):
        again(adapter, "shop", model="mini", config=elsewhere)


@pytest.mark.skipif(INNER in os.environ, reason="this client knows no metadata of collections")
def test_a_collection_of_the_other_adapter_fits(
    adapter: ModuleType, client: QdrantClient, config: ManagerConfig, elsewhere: ManagerConfig
) -> None:
    from thoth_models.adapters.qdrant import ThothCollection

    ThothCollection(client, "shop", "mini", config).create()
    again(adapter, "shop", model="mini", config=config).bulk_add_documents([column(1)])
    with pytest.raises(SpaceMismatchError, match=identity("one")):
        again(adapter, "shop", model="mini", config=elsewhere)


def test_one_store_for_a_collection_of_a_process(
    adapter: ModuleType, client: QdrantClient, config: ManagerConfig
) -> None:
    store = adapter.ThothQdrantStore("shop", model="mini", config=config)
    assert adapter.ThothQdrantStore("shop", model="mini", config=config) is store
    with pytest.raises(InvalidInputError, match="expected the model 'mini' and the settings"):
        adapter.ThothQdrantStore("shop", model="other", config=config)
    with pytest.raises(InvalidInputError, match="or other settings"):
        adapter.ThothQdrantStore("shop", model="mini", config=replace(config, timeout=5))


def test_one_store_for_each_address(
    adapter: ModuleType, client: QdrantClient, config: ManagerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release forgets the URL, and gives the store of the first address to whoever names a second one."""
    asked: list[dict[str, Any]] = []

    def connect(**address: Any) -> QdrantClient:
        asked.append(address)
        return client

    monkeypatch.setattr(importlib.import_module("thoth_qdrant.adapter.qdrant_native"), "QdrantClient", connect)
    blue = adapter.ThothQdrantStore("shop", url="http://blue:6333", model="mini", config=config)
    green = adapter.ThothQdrantStore("shop", url="http://green:7000/", model="mini", config=config)
    assert blue is not green
    assert [(address["host"], address["port"]) for address in asked] == [("blue", 6333), ("green", 7000)]
    assert adapter.ThothQdrantStore("shop", "blue", model="mini", config=config) is blue
    others = ("https://blue", "blue:6333", "http://blue/path", "http://[blue", "http://blue:99999")
    for url, key in (("http://blue", "key"), *((other, None) for other in others)):
        with pytest.raises(InvalidInputError, match="url: expected http"):
            adapter.ThothQdrantStore("shop", url=url, api_key=key, model="mini", config=config)


def test_the_event_loop_goes_on(
    adapter: ModuleType, config: ManagerConfig, backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the array becomes a list."""
    provider = adapter.ThothEmbeddingProvider("mini", config)
    assert_the_loop_goes_on(config, backends, monkeypatch, lambda: provider.embed_texts_async(["a"]))
    threads: list[str] = []
    embed = provider.embed_texts

    def noted(texts: list[str]) -> Any:
        threads.append(threading.current_thread().name)
        return embed(texts)

    monkeypatch.setattr(provider, "embed_texts", noted)
    asyncio.run(provider.embed_texts_async(["a"]))
    assert threads[0].startswith("thoth-models-encode")


def test_without_thoth_qdrant_the_error_names_the_extra(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    result = run_python("-c", "import thoth_models.adapters.thoth_qdrant")
    expected = "BackendUnavailableError: thoth-qdrant is not installed: install thoth-models[thoth-qdrant]"
    assert expected in result.stderr


@pytest.mark.torch
def test_the_page_runs(
    adapter: ModuleType, client: QdrantClient, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THOTH_MODELS_DIR", str(tiny_bundle))
    EmbeddingManager.get_instance().close()
    names = run_page("docs/adapters/thoth-qdrant.md")
    EmbeddingManager.get_instance().close()
    assert names["found"][0].column_name == "city"


@pytest.mark.skipif(INNER in os.environ, reason="this is the run with the other client")
def test_all_of_it_with_the_client_that_it_was_made_for(cache: Path, tmp_path: Path) -> None:
    place = unpacked(ITS_CLIENT, cache, tmp_path)
    root = Path(__file__).parents[2]
    runtime = Path(thoth_models.__file__).parent.parent
    paths = [str(place), str(runtime), str(root), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    options = ["--rootdir", str(root), "-o", f"cache_dir={cache.parents[1]}", f"--basetemp={tmp_path / 'inner'}"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not torch", __file__, *options],
        env={**inherited, "PYTHONPATH": os.pathsep.join(paths), INNER: "1"},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    assert re.search(r"^1\d passed, 2 skipped", result.stdout, re.MULTILINE), result.stdout
