"""Chroma's own clients and collections, in memory and in a directory."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import chromadb
import numpy as np
import pytest
from chromadb.api.types import Documents, EmbeddingFunction, Embeddings
from chromadb.config import Settings
from chromadb.utils.embedding_functions import known_embedding_functions

from tests.adapters.worlds import COLUMNS, DIMENSION, identity, model, use_words, world
from tests.support.bundles import make_writable
from tests.support.pages import run_page
from thoth_models import (
    EmbeddingManager,
    FallbackWarning,
    InvalidInputError,
    ManagerConfig,
    ModelUnavailableError,
    SpaceMismatchError,
    UnknownModelError,
)
from thoth_models.adapters.chroma import SPACE, ThothEmbeddingFunction, open_collection

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chromadb.api import ClientAPI
    from chromadb.api.client import Client

    from tests.adapters.worlds import Backends

PROMPTS = {"query": "question ", "document": "passage "}
IDS = [f"column-{number}" for number in range(len(COLUMNS))]


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> Backends:
    return use_words(monkeypatch)


@pytest.fixture
def config(tmp_path: Path, backends: Backends) -> Iterator[ManagerConfig]:
    """``mini`` with an alternate of another space, and models of other kinds."""
    yield world(
        tmp_path / "bundle",
        model("mini", space="one", aliases=("legacy",), alternates=[("other", "accept")]),
        model("other", space="two"),
        model("asked", prompts=PROMPTS),
        model("raw", normalize=False),
    )
    make_writable(tmp_path / "bundle")


@pytest.fixture
def elsewhere(tmp_path: Path, backends: Backends) -> Iterator[ManagerConfig]:
    """Another bundle, where ``mini`` is a model of another space."""
    yield world(tmp_path / "elsewhere", model("mini", space="three"), model("same", space="one"))
    make_writable(tmp_path / "elsewhere")


@pytest.fixture
def open_client(tmp_path: Path) -> Iterator[Callable[[], ClientAPI]]:
    """Open the database as a process would that starts; the one before is closed."""
    clients: list[Client] = []

    def open_client() -> ClientAPI:
        for client in clients:
            client.close()
        opened = chromadb.PersistentClient(tmp_path / "database", Settings(anonymized_telemetry=False))
        clients[:] = [cast("Client", opened)]  # ClientAPI has no close()
        return clients[0]

    yield open_client
    for client in clients:
        client.close()


@pytest.fixture
def client(open_client: Callable[[], ClientAPI]) -> ClientAPI:
    return open_client()


def kept_space(client: ClientAPI) -> str:
    """Return the space that Chroma keeps with the function of the collection."""
    kept = client.get_collection("columns").configuration_json["embedding_function"]
    return str(kept["config"]["space"])


def passed(function: EmbeddingFunction[Documents]) -> EmbeddingFunction[Any]:
    """As Chroma's own types want it: for images as well."""
    return cast("EmbeddingFunction[Any]", function)


def filled(client: ClientAPI, function: ThothEmbeddingFunction) -> None:
    client.create_collection("columns", embedding_function=passed(function)).add(ids=IDS, documents=COLUMNS)


def best(client: ClientAPI, question: str) -> str:
    """Ask a collection that is opened by its name alone."""
    found = client.get_collection("columns").query(query_texts=[question], n_results=1)
    return found["ids"][0][0]


def point_at(monkeypatch: pytest.MonkeyPatch, config: ManagerConfig) -> None:
    monkeypatch.setenv("THOTH_MODELS_DIR", str(config.root))
    EmbeddingManager.get_instance().close()


def test_a_collection_is_filled_and_asked(client: ClientAPI, config: ManagerConfig) -> None:
    filled(client, ThothEmbeddingFunction("mini", config))
    assert best(client, "in which city does the customer live?") == IDS[1]
    assert best(client, "total price in euros") == IDS[2]
    distances = client.get_collection("columns").query(query_texts=[COLUMNS[4]], n_results=1)["distances"]
    assert distances is not None
    assert distances[0][0] == pytest.approx(0, abs=1e-6)


def test_a_function_can_be_pickled_and_copied(config: ManagerConfig) -> None:
    first = ThothEmbeddingFunction("mini", config)
    for other in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first)):  # noqa: S301 - our own
        assert other.get_config() == first.get_config()
        assert np.array_equal(other(["a"]), first(["a"]))
    assert EmbeddingManager.get_instance(config).stats().models["mini"].loads == 1


def test_a_collection_knows_its_function_again(
    open_client: Callable[[], ClientAPI], config: ManagerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one that is passed, and in a process that had not made one: Chroma finds the class by its name."""
    point_at(monkeypatch, config)
    filled(open_client(), ThothEmbeddingFunction())
    client = open_client()
    collection = client.get_collection("columns")
    assert collection.configuration_json["embedding_function"] == {
        "name": "thoth_models",
        "type": "known",
        "config": {"model": "default", "space": identity("one"), "settings": {}},
    }
    assert collection.configuration_json["hnsw"]["space"] == "cosine"
    assert best(client, "in which city does the customer live?") == IDS[1]
    collection.add(ids=["late"], documents=["country of the customer"])
    assert collection.count() == len(IDS) + 1


@pytest.mark.parametrize("texts", [{"query_texts": [COLUMNS[0]]}, None])
def test_another_space_under_the_name_is_refused(
    texts: dict[str, Any] | None,
    open_client: Callable[[], ClientAPI],
    config: ManagerConfig,
    elsewhere: ManagerConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point_at(monkeypatch, config)
    filled(open_client(), ThothEmbeddingFunction("mini"))
    point_at(monkeypatch, elsewhere)
    collection = open_client().get_collection("columns")
    expected = (
        f"this Chroma collection: expected vectors of the embedding space {identity('one')}, "
        f"found {identity('three')}, which is the space of 'mini', the model that answers for 'mini'"
    )
    with pytest.raises(SpaceMismatchError) as caught:
        collection.query(**texts) if texts else collection.add(ids=["late"], documents=["late"])
    assert str(caught.value).startswith(expected)
    assert collection.count() == len(IDS)


def test_a_stand_in_of_another_space_is_refused_and_said(
    client: ClientAPI, config: ManagerConfig, backends: Backends
) -> None:
    filled(client, ThothEmbeddingFunction("mini", config))
    manager = EmbeddingManager.get_instance(config)
    assert manager.unload()
    backends.broken.add("mini/torch-fp32")
    collection = client.get_collection("columns")
    with (
        pytest.warns(FallbackWarning, match="other/torch-fp32 stands in for 'mini'"),
        pytest.raises(SpaceMismatchError, match=f"found {identity('two')}, .*stands in for 'mini'"),
    ):
        collection.query(query_texts=["city"])
    # The list accepts that stand-in, so whoever asks the manager gets it.
    assert manager.encode("city", "mini").shape == (DIMENSION,)


def test_a_new_collection_keeps_the_space_of_what_answers(
    client: ClientAPI, config: ManagerConfig, backends: Backends
) -> None:
    backends.broken.add("mini/torch-fp32")
    with pytest.warns(FallbackWarning):
        filled(client, ThothEmbeddingFunction("mini", config))
    backends.broken.clear()
    EmbeddingManager.get_instance(config).close()
    with pytest.raises(SpaceMismatchError, match=f"expected .* {identity('two')}, found {identity('one')}"):
        client.get_collection("columns").query(query_texts=["city"])


def test_a_function_that_is_passed_is_compared_where_it_is_opened_here(
    client: ClientAPI, config: ManagerConfig, elsewhere: ManagerConfig
) -> None:
    filled(client, ThothEmbeddingFunction("mini", config))
    for settings, name in ((config, "legacy"), (elsewhere, "same")):
        collection = open_collection(client, "columns", name, settings)
        assert collection.query(query_texts=["order date day"], n_results=1)["ids"] == [[IDS[3]]]
    with pytest.raises(SpaceMismatchError, match=f"space {identity('three')} of 'mini', found {identity('one')}"):
        open_collection(client, "columns", "mini", elsewhere)
    client.create_collection("foreign", embedding_function=None)
    with pytest.raises(SpaceMismatchError, match="found none"):
        open_collection(client, "foreign", "mini", config)
    assert client.get_collection("foreign", embedding_function=None).count() == 0


def test_a_collection_is_made_where_there_is_none(client: ClientAPI, config: ManagerConfig) -> None:
    made = open_collection(client, "columns", "mini", config, metadata={"of": "the shop"})
    made.add(ids=IDS, documents=COLUMNS)
    assert made.metadata == {"of": "the shop", SPACE: identity("one")}
    assert best(client, "supplier country") == IDS[4]


def test_a_model_that_cannot_be_loaded_makes_no_collection(
    client: ClientAPI, config: ManagerConfig, backends: Backends
) -> None:
    """Chroma would make a warning of it, and a collection without a function."""
    with pytest.raises(UnknownModelError):
        open_collection(client, "columns", "nowhere", config)
    backends.broken |= {"mini/torch-fp32", "other/torch-fp32"}
    with pytest.raises(ModelUnavailableError):
        client.create_collection("columns", embedding_function=passed(ThothEmbeddingFunction("mini", config)))
    assert client.list_collections() == []


def test_a_function_of_another_space_does_not_take_over(
    client: ClientAPI, config: ManagerConfig, elsewhere: ManagerConfig
) -> None:
    filled(client, ThothEmbeddingFunction("mini", config))
    collection = client.get_collection("columns")
    collection.modify(configuration={"embedding_function": passed(ThothEmbeddingFunction("same", elsewhere))})
    with pytest.raises(SpaceMismatchError, match="expected a function of its embedding space"):
        collection.modify(configuration={"embedding_function": passed(ThothEmbeddingFunction("mini", elsewhere))})


def test_a_function_that_chroma_kept_though_it_was_refused_is_taken_back(
    client: ClientAPI, config: ManagerConfig, elsewhere: ManagerConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """``modify`` writes first and asks afterwards."""
    ours = ThothEmbeddingFunction("mini", config).space
    collection = open_collection(client, "columns", "mini", config, metadata={"of": "the shop"})
    assert collection.metadata == {"of": "the shop", SPACE: ours}
    with pytest.raises(SpaceMismatchError, match="open_collection restores"):
        collection.modify(configuration={"embedding_function": passed(ThothEmbeddingFunction("mini", elsewhere))})
    assert kept_space(client) != ours  # or there is nothing to be taken back any more
    with pytest.raises(SpaceMismatchError, match=f"found {ours}"):
        open_collection(client, "columns", "mini", elsewhere)
    assert open_collection(client, "columns", "mini", config).name == "columns"
    assert kept_space(client) == ours
    assert "restoring the function of space" in caplog.text


@pytest.mark.parametrize("metadata", [None, {"of": "the shop"}])
def test_a_space_that_the_metadata_lost_is_put_back(
    client: ClientAPI, config: ManagerConfig, elsewhere: ManagerConfig, metadata: dict[str, str] | None
) -> None:
    """``modify`` replaces all of the metadata, and a collection that was made elsewhere never had it there."""
    collection = client.create_collection(
        "columns", metadata=metadata, embedding_function=passed(ThothEmbeddingFunction("mini", config))
    )
    for _ in range(2):
        assert open_collection(client, "columns", "mini", config).metadata == {
            **(metadata or {}),
            SPACE: identity("one"),
        }
        with pytest.raises(SpaceMismatchError):
            open_collection(client, "columns", "mini", elsewhere)
        metadata = {"of": "the new shop"}
        collection.modify(metadata={**metadata})


def test_metadata_that_cannot_be_replaced_stays(client: ClientAPI, config: ManagerConfig) -> None:
    metadata = {"hnsw:space": "cosine"}
    function = passed(ThothEmbeddingFunction("mini", config))
    client.create_collection("columns", metadata=metadata, embedding_function=function)
    assert open_collection(client, "columns", "mini", config).metadata == metadata


def test_a_function_of_somebody_else_with_the_same_settings_is_none_of_ours(
    client: ClientAPI, config: ManagerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ThothEmbeddingFunction("mini", config).get_config()

    class Theirs(EmbeddingFunction[Documents]):
        def __init__(self) -> None: ...

        def __call__(self, input: Documents) -> Embeddings:  # noqa: A002
            return [np.zeros(8, dtype=np.float32) for _ in input]

        @staticmethod
        def name() -> str:
            return "theirs"

        def get_config(self) -> dict[str, Any]:
            return kept

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Theirs:
            return Theirs()

    monkeypatch.setitem(known_embedding_functions, "theirs", Theirs)  # and gone afterwards
    client.create_collection("columns", embedding_function=passed(Theirs()))
    with pytest.raises(ValueError, match="new: thoth_models vs persisted: theirs"):  # of Chroma
        open_collection(client, "columns", "mini", config)


def test_settings_go_with_the_collection_and_come_back(config: ManagerConfig) -> None:
    settings = replace(config, variants=("torch-fp32",), expect_spaces={"mini": identity("one")}, timeout=7.5)
    function = ThothEmbeddingFunction("mini", settings)
    kept = function.get_config()
    assert kept["settings"] == {
        "root": str(config.root),
        "variants": ["torch-fp32"],
        "expect_spaces": {"mini": identity("one")},
        "timeout": 7.5,
    }
    again = ThothEmbeddingFunction.build_from_config(kept)
    assert again.get_config() == kept
    assert not again.is_legacy()
    ManagerConfig(**kept["settings"])


def test_the_model_is_the_one_that_the_manager_has_loaded(
    client: ClientAPI, config: ManagerConfig, backends: Backends
) -> None:
    manager = EmbeddingManager.get_instance(config)
    manager.encode("something")
    filled(client, ThothEmbeddingFunction("mini", config))
    best(client, "city")
    assert len(backends.made["mini/torch-fp32"]) == 1
    # The function that was built again has the settings of its collection, which are equal.
    assert manager.stats().models["mini"].loads == 1


def test_queries_and_documents_have_their_prompts(config: ManagerConfig, backends: Backends) -> None:
    function = ThothEmbeddingFunction("asked", config)
    manager = EmbeddingManager.get_instance(config)
    assert np.array_equal(function(["city"])[0], manager.encode_document("city", "asked"))
    assert np.array_equal(function.embed_query(["city"])[0], manager.encode_query("city", "asked"))
    assert not np.array_equal(function(["city"])[0], function.embed_query(["city"])[0])
    assert function(["city"])[0].dtype == np.float32


def test_measures_are_those_of_the_model(config: ManagerConfig) -> None:
    unit, raw = ThothEmbeddingFunction("mini", config), ThothEmbeddingFunction("raw", config)
    assert (unit.default_space(), unit.supported_spaces()) == ("cosine", ["cosine", "ip", "l2"])
    assert (raw.default_space(), raw.supported_spaces()) == ("cosine", ["cosine"])


@pytest.mark.parametrize(
    ("similarity", "expected"), [("dot", "ip"), ("euclidean", "l2"), ("manhattan", None), ("cosine", "cosine")]
)
def test_measures_of_other_models(
    similarity: str, expected: str | None, tmp_path: Path, backends: Backends, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: make_writable(tmp_path / "measures"))
    config = world(tmp_path / "measures", replace(model("mini", normalize=False), similarity=similarity))
    if expected is None:
        with pytest.raises(InvalidInputError, match=r"similarity function that Chroma has .* found manhattan"):
            ThothEmbeddingFunction("mini", config)
    else:
        assert ThothEmbeddingFunction("mini", config).supported_spaces() == [expected]


def test_what_is_no_text_is_named(config: ManagerConfig) -> None:
    function = ThothEmbeddingFunction("mini", config)
    wrong: list[Any] = ["fine", None]
    for call in (function, function.embed_query):
        with pytest.raises(InvalidInputError, match=r"sentences\[1\]: expected a str, found NoneType"):
            call(wrong)
        with pytest.raises(InvalidInputError, match="expected a list of texts, found a str"):
            call("fine")  # type: ignore[arg-type]
    assert function.embed_query([]) == []
    with pytest.raises(ValueError, match="non-empty"):  # Chroma's own answer to no documents
        function([])


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"model": "mini"}, "expected model and space"),
        ({"model": "mini", "space": "short"}, "64 lower-case hexadecimal digits"),
        ({"model": 3, "space": "0" * 64}, "model: expected a name, found int"),
        ({"model": "mini", "space": "0" * 64, "settings": {"made_up": 1}}, r"found \['made_up'\]"),
    ],
)
def test_what_was_kept_is_looked_at(kept: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ThothEmbeddingFunction.build_from_config(kept)


def test_chroma_knows_the_class() -> None:
    assert known_embedding_functions[ThothEmbeddingFunction.name()] is ThothEmbeddingFunction


def test_without_chroma_the_error_names_the_extra(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    script = "import sys; sys.modules['chromadb'] = None; import thoth_models.adapters.chroma"
    result = run_python("-c", script)
    assert "BackendUnavailableError: Chroma is not installed: install thoth-models[chroma]" in result.stderr
    assert run_python("-c", "import sys, thoth_models.adapters; assert 'chromadb' not in sys.modules").returncode == 0


QUIET = """
import sys
looked_up = []
sys.addaudithook(lambda event, arguments: looked_up.append((event, arguments)) if event in WATCHED else None)
WATCHED = {"socket.getaddrinfo", "socket.connect"}
import chromadb
from pathlib import Path
from chromadb.config import Settings

client = chromadb.PersistentClient("database", Settings(anonymized_telemetry=False))
if sys.argv[1] == "ours":
    from thoth_models.adapters.chroma import open_collection
    collection = open_collection(client, "columns", "mini")
else:
    collection = client.create_collection("columns")
try:
    collection.add(ids=["1"], documents=["the name of the customer"])
    collection.query(query_texts=["name"])
except Exception as error:
    print(type(error).__name__, error)
client.close()
print("looked up:", len(looked_up), "model files:", (Path.home() / ".cache" / "chroma").exists())
"""


@pytest.mark.torch
def test_nothing_is_fetched_and_nobody_is_called(
    tiny_bundle: Path, tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """The positive control is Chroma's own default function, which begins with a download."""
    environment = {"HOME": str(tmp_path), "THOTH_MODELS_DIR": str(tiny_bundle)}
    script = tmp_path / "quiet.py"
    script.write_text(QUIET, encoding="utf-8")
    ours = run_python(str(script), "ours", environment=environment)
    assert ours.stdout.splitlines() == ["looked up: 0 model files: False"], ours.stderr
    (tmp_path / "other").mkdir()
    theirs = run_python(str(script), "theirs", environment=environment, directory=tmp_path / "other")
    assert "model files: True" in theirs.stdout, theirs.stderr
    assert "looked up: 0" not in theirs.stdout


@pytest.mark.torch
def test_the_page_runs(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THOTH_MODELS_DIR", str(tiny_bundle))
    EmbeddingManager.get_instance().close()
    names = run_page("docs/adapters/chroma.md")
    names["client"].close()
    EmbeddingManager.get_instance().close()
    assert names["found"]["documents"]
