"""Old call sites hand over Haystack's own documents: the real ones, and what a document store makes of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from haystack import Document, Pipeline
from haystack.document_stores.in_memory import InMemoryDocumentStore

from tests.support.bundles import FakeBackend, invented_model, make_bundle, make_writable, put_backend
from tests.support.old_names import unit
from thoth_models import BackendUnavailableError, ManagerConfig
from thoth_models.compat import ExternalEmbeddingManager, LocalEmbeddingProvider, MultilingualEmbeddingManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ManagerConfig]:
    put_backend(monkeypatch, lambda verified: FakeBackend(verified.model.dimension))
    old = "paraphrase-multilingual-MiniLM-L12-v2"
    make_bundle(tmp_path / "bundle", [invented_model("small", aliases=("default", old))], default="small")
    yield ManagerConfig(root=tmp_path / "bundle")
    make_writable(tmp_path / "bundle")


def test_documents_keep_their_ids_and_go_into_a_store(config: ManagerConfig) -> None:
    """Haystack warns of whoever changes a document; warnings are errors here."""
    documents = [Document(content="uno", meta={"type": "column"}), Document(content="due")]
    ids = [document.id for document in documents]
    found = MultilingualEmbeddingManager(config=config).encode_documents(documents)
    assert [document.id for document in found] == ids
    assert all(mine is given for mine, given in zip(found, documents, strict=True))
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    store.write_documents(found)
    (best,) = store.embedding_retrieval(unit("due"), top_k=1)
    assert best.content == "due"
    assert best.score == pytest.approx(1.0)
    assert store.filter_documents()[0].embedding == pytest.approx(unit("uno"))


def test_documents_of_the_hosted_surface(config: ManagerConfig) -> None:
    (document,) = ExternalEmbeddingManager(LocalEmbeddingProvider(config=config)).encode_documents(
        [Document(content=None)]
    )
    assert document.embedding == pytest.approx(unit(""))


def test_without_haystack_the_error_names_the_extra(config: ManagerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "haystack", None)
    manager = MultilingualEmbeddingManager(config=config)
    for get in (manager.get_document_embedder, manager.get_text_embedder):
        with pytest.raises(BackendUnavailableError, match=r"install thoth-models\[haystack\]"):
            get()


def test_the_embedders_are_components_for_pipelines(config: ManagerConfig) -> None:
    manager = MultilingualEmbeddingManager(config=config)
    pipeline = Pipeline()
    pipeline.add_component("embedder", manager.get_text_embedder())
    found = pipeline.run({"embedder": {"text": "uno"}})["embedder"]["embedding"]
    assert found == pytest.approx(unit("uno"))
    assert found == manager.encode_query("uno")
    (document,) = manager.get_document_embedder().run(documents=[Document(content="due")])["documents"]
    assert document.embedding == pytest.approx(unit("due"))
