"""What the adapters of frameworks have in common: one loaded model, also in other processes, and no connections."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from haystack import Document

from tests.adapters.served import assert_close, expected
from tests.support.bundles import make_bundle, make_writable
from tests.support.forks import BOUND, run_forks
from thoth_models import EmbeddingManager
from thoth_models.adapters.haystack import ThothDocumentEmbedder, ThothTextEmbedder
from thoth_models.adapters.langchain import ThothEmbeddings
from thoth_models.adapters.llama_index import ThothEmbedding

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from thoth_models import ManagerConfig

    Page = Callable[[str], dict[str, Any]]
    Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def onnx_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bundle that the real backend reads."""
    from tests.support.onnx_models import plan, variant_files

    place = tmp_path_factory.mktemp("frameworks")
    make_bundle(place / "bundle", [plan(variant_files(place / "files"))], default="mini")
    yield place / "bundle"
    make_writable(place / "bundle")


def test_all_of_them_share_what_is_loaded(config: ManagerConfig) -> None:
    documents = ThothDocumentEmbedder("mini", config).run([Document(content="a")])["documents"]
    ours = [
        ThothEmbeddings("mini", config=config).embed_documents(["a"])[0],
        ThothEmbedding("legacy", config=config).get_text_embedding("a"),
        documents[0].embedding,
    ]
    assert_close(ours, [expected("a", "document")] * 3)
    stats = EmbeddingManager.get_instance(config).stats().models["mini"]
    assert (stats.loads, stats.texts) == (1, 3)


ENCODERS = """
import pickle, sys
from thoth_models import EmbeddingManager
from thoth_models.adapters.haystack import ThothTextEmbedder
from thoth_models.adapters.langchain import ThothEmbeddings
from thoth_models.adapters.llama_index import ThothEmbedding

def vectors(adapters):
    chain, index, component = adapters
    return [chain.embed_query("red fox"), index.get_query_embedding("red fox"), component.run("red fox")["embedding"]]
"""

FORKS = (
    ENCODERS
    + """
adapters = ThothEmbeddings("mini"), ThothEmbedding("mini"), ThothTextEmbedder("mini")
before = vectors(adapters)

def work():
    assert vectors(adapters) == before
    assert EmbeddingManager.get_instance().stats().models["mini"].calls == 6  # those of before, and its own

report([in_child(work, float(sys.argv[1])), in_child(work, float(sys.argv[1]))])
assert vectors(adapters) == before
"""
)

UNPICKLES = (
    ENCODERS
    + """
import json
with open(sys.argv[1], "rb") as file:
    print(json.dumps(vectors(pickle.load(file))))
"""
)


@pytest.mark.onnx
def test_children_of_fork_go_on_with_them(run_python: Run, onnx_root: Path) -> None:
    children, errors = run_forks(run_python, FORKS, str(BOUND), environment={"THOTH_MODELS_DIR": str(onnx_root)})
    assert [(child.outcome, child.status) for child in children] == [("ended", 0)] * 2, errors


@pytest.mark.onnx
def test_they_can_be_sent_to_another_process(run_python: Run, onnx_root: Path, tmp_path: Path) -> None:
    adapters = ThothEmbeddings("mini"), ThothEmbedding("mini"), ThothTextEmbedder("mini")
    sent = tmp_path / "sent"
    sent.write_bytes(pickle.dumps(adapters))
    done = run_python("-c", UNPICKLES, str(sent), environment={"THOTH_MODELS_DIR": str(onnx_root)})
    assert done.returncode == 0, done.stderr
    chain, index, component = json.loads(done.stdout)
    assert chain == index == component
    assert any(chain)


WATCHED = """
import os, sys
asked = []

def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect"):
        asked.append(arguments[:2])
        if sys.argv[2] == "control":
            print("asked: True", flush=True)
            os._exit(0)  # the libraries would try again for a while
        raise OSError("nobody answers here")

sys.addaudithook(watch)
texts = ["The customer lives in a city. Each order has a price. " * 20, "Suppliers live in countries."]

def langchain():
    from langchain_core.vectorstores import InMemoryVectorStore
    from thoth_models.adapters.langchain import ThothEmbeddings
    store = InMemoryVectorStore(ThothEmbeddings("mini"))
    store.add_texts(texts)
    found = store.as_retriever(search_kwargs={"k": 1}).invoke("city")
    if os.environ.get("LANGSMITH_TRACING"):
        from langchain_core.tracers.langchain import wait_for_all_tracers
        wait_for_all_tracers()
    return found

def llama_index():
    from llama_index.core import Document, VectorStoreIndex
    from thoth_models.adapters.llama_index import ThothEmbedding
    from llama_index.core.node_parser import SentenceSplitter
    documents = [Document(text=text) for text in texts]
    split = [SentenceSplitter(chunk_size=64, chunk_overlap=0)]  # into sentences, whose tokens are counted
    index = VectorStoreIndex.from_documents(documents, transformations=split, embed_model=ThothEmbedding("mini"))
    return index.as_retriever(similarity_top_k=1).retrieve("city")

def haystack():
    from haystack import Document, Pipeline
    from thoth_models.adapters.haystack import ThothDocumentEmbedder
    pipeline = Pipeline()
    pipeline.add_component("embed", ThothDocumentEmbedder("mini"))
    found = pipeline.run({"embed": {"documents": [Document(content=text) for text in texts]}})["embed"]["documents"]
    if os.environ["HAYSTACK_TELEMETRY_ENABLED"] == "true":
        import posthog
        posthog.shutdown()  # sends what waits
    return found

try:
    print("found:", len(globals()[sys.argv[1]]()) > 0)
finally:
    print("asked:", len(asked) > 0)
"""


@pytest.mark.onnx
@pytest.mark.parametrize(
    ("framework", "loud"),
    [
        ("langchain", {"LANGSMITH_TRACING": "true", "LANGSMITH_API_KEY": "none"}),
        ("llama_index", {"NLTK_DATA": "empty"}),
        ("llama_index", {"TIKTOKEN_CACHE_DIR": "empty"}),
        ("haystack", {"HAYSTACK_TELEMETRY_ENABLED": "true"}),
    ],
)
def test_nothing_is_fetched_and_nobody_is_called(
    framework: str, loud: dict[str, str], run_python: Run, onnx_root: Path, tmp_path: Path
) -> None:
    """The positive controls are what the pages warn of: the framework's own requests, where a setting asks for them."""
    quiet = {"THOTH_MODELS_DIR": str(onnx_root), "HOME": str(tmp_path), "HAYSTACK_TELEMETRY_ENABLED": "false"}
    ours = run_python("-c", WATCHED, framework, "ours", environment=quiet)
    assert ours.stdout.splitlines() == ["found: True", "asked: False"], ours.stdout + ours.stderr
    theirs = run_python("-c", WATCHED, framework, "control", environment={**quiet, **loud})
    assert theirs.stdout.splitlines()[-1] == "asked: True", theirs.stdout + theirs.stderr


def test_the_code_of_the_page_runs(page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    names = page("README")
    assert names["loads"] == 1
    told = capsys.readouterr().out
    assert "0" * 12 in told
    assert "sentences[1]: expected a str, found NoneType" in told
