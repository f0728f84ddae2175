"""ThothAI's two services, before and after the guides: what is asked of whom, what is found, and what waits for what.

Both run as processes of their own, with the released thoth-qdrant and its client, beside a Qdrant and a hosted provider
on this computer. The provider's vectors are the model's own, padded to 1536 numbers: both ways have to find the same.
"""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.migration.deployment import INDEX, LOCAL, Deployment, hosted_settings
from tests.migration.guides import copy_of, migrated
from tests.operations.gating import gate_process
from tests.support.qdrant_points import qdrant_serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from threading import Event

    from tests.migration.deployment import SqlGenerator
    from tests.migration.hosted import HostedProvider
    from tests.support.qdrant_points import QdrantServer

pytestmark = [pytest.mark.onnx]

QUESTIONS = [
    "In which city do the customers live?",
    "Which schools have the most pupils with free meals?",
    "How much do the employees of each department earn in a year?",
    "Which flights arrived late?",
    "Quali prestiti non sono stati rimborsati?",
]
DOCUMENTS = {"column_name": 90, "evidence": 19, "sql": 6}
BLOCKED_SECONDS = 1.5
"""After which `/health` of the former code counts as blocked."""
ANSWER_SECONDS = 20.0
"""Within which `/health` must answer while a question stands still, which it does for longer than that."""


@pytest.fixture(scope="module")
def hosted(
    tmp_path_factory: pytest.TempPathFactory, qdrant: QdrantServer, provider: HostedProvider, packages: list[Path]
) -> Deployment:
    """The repository as it was; its collection is written by a process of its own, as at the first start."""
    place = tmp_path_factory.mktemp("hosted")
    deployment = Deployment(
        copy_of(place / "tree"), qdrant, hosted_settings(provider), packages, place / "scratch", backend_port=0
    )
    assert deployment.run("-c", INDEX) == "19 19 6 6\nCOMPLETED\n"
    assert qdrant.counts() == {"shop": DOCUMENTS}
    return deployment


@pytest.fixture(scope="module")
def local(hosted: Deployment, mini_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The repository as the guides make it, on the settings that they end with; connections are forbidden."""
    place = tmp_path_factory.mktemp("local")
    settings = {**LOCAL, "THOTH_MODELS_DIR": str(mini_bundle)}
    return Deployment(
        migrated(place / "tree"), hosted.qdrant, settings, hosted.packages, place / "scratch", is_offline=True
    )


@pytest.fixture(scope="module")
def copied(hosted: Deployment, local: Deployment) -> str:
    """What the command printed that writes the new collection."""
    return local.run("manage.py", "copy_collection", "1")


@pytest.fixture(scope="module")
def backend(local: Deployment, copied: str) -> Iterator[httpx2.Client]:
    """The backend, which both states of sql_generator ask for their workspace; it has the new collection."""
    with local.backend() as client:
        yield client


@pytest.fixture(scope="module")
def before(hosted: Deployment, local: Deployment, backend: httpx2.Client) -> Iterator[SqlGenerator]:
    with replace(hosted, backend_port=local.backend_port).sql_generator() as service:
        yield service


@pytest.fixture(scope="module")
def after(local: Deployment, backend: httpx2.Client) -> Iterator[SqlGenerator]:
    with local.sql_generator() as service:
        yield service


@pytest.fixture(scope="module")
def answers_before(before: SqlGenerator) -> dict[str, Any]:
    return {question: before.ask(question) for question in QUESTIONS}


def of_type(found: dict[str, Any], name: str) -> list[str]:
    """Return the columns in a part of an answer."""
    return sorted(f"{table}.{column}" for table, columns in found[name].items() for column in columns)


def assert_health_answers(
    service: SqlGenerator, ask: Callable[[], httpx2.Response], standstill: AbstractContextManager[None], reached: Event
) -> None:
    """Ask what stands still somewhere, `/health` meanwhile, and see the request answered in the end."""
    with ThreadPoolExecutor(1) as thread:
        with standstill:
            stuck = thread.submit(ask)
            assert reached.wait(timeout=30)
            assert service.client.get("/health", timeout=ANSWER_SECONDS).status_code == 200
            assert not stuck.done()
        assert stuck.result(timeout=60).status_code == 200


class TestThothAIUiIntegration:
    """sql_generator, which the interface asks."""

    def test_before_it_asks_the_provider(
        self, hosted: Deployment, provider: HostedProvider, answers_before: dict[str, Any]
    ) -> None:
        """The positive control of what follows: its connections are seen, and something is found."""
        assert provider.texts > 100
        port = provider.server_address[1]
        assert any(f"'127.0.0.1', {port}" in line for line in hosted.connections())
        assert "customers.city" in of_type(answers_before[QUESTIONS[0]], "similar_columns")
        assert answers_before[QUESTIONS[1]]["evidence"][0].startswith("The eligible free rate")
        assert answers_before[QUESTIONS[3]]["sql_shots"][0][0] == "Which flights were late?"

    def test_after_the_same_is_found_without_it(
        self, local: Deployment, provider: HostedProvider, after: SqlGenerator, answers_before: dict[str, Any]
    ) -> None:
        texts = provider.texts
        answers = {question: after.ask(question) for question in QUESTIONS}
        assert answers == answers_before
        assert provider.texts == texts
        assert local.connections() == []
        assert "run_server.py" in local.watched()

    def test_sql_generator_no_hang(self, before: SqlGenerator, after: SqlGenerator, provider: HostedProvider) -> None:
        """What used to hang: the other end is silent. Before, so is the process; afterwards, nothing is asked of it."""
        with provider.silent(), ThreadPoolExecutor(1) as thread:
            stuck = thread.submit(before.post, "Who supplies the products that are sold out?")
            assert provider.waiting.wait(timeout=30)
            with pytest.raises(httpx2.ReadTimeout):
                before.client.get("/health", timeout=BLOCKED_SECONDS)
            assert not stuck.done()

            found = after.ask("Who supplies the products that are sold out?")
            assert "products.supplier_id" in of_type(found, "schema_from_vector_db")
            assert after.client.get("/health", timeout=ANSWER_SECONDS).status_code == 200
            # The gate that is a trigger of the way back; its own limits are narrower than a shared machine keeps.
            limits = ("--rate=10", "--timeout=3s", "--max-failures=50%", "--for=2s")
            with ThreadPoolExecutor(2) as gates:
                urls = [f"{service.client.base_url}/health" for service in (before, after)]
                ended = gates.map(lambda url: gate_process("watch", url, *limits).returncode, urls)
                assert list(ended) == [1, 0]
            provider.answers.set()
            assert stuck.result(timeout=60).status_code == 200

    def test_health_answers_whatever_a_question_waits_for(self, local: Deployment, backend: httpx2.Client) -> None:
        """Each part of the synchronous chain that asks the store; the first question makes it."""
        qdrant = local.qdrant
        with replace(local, scratch=local.scratch / "waiting").sql_generator() as service:
            for path, kind in (
                ("/collections", ""),
                ("/points/query", "evidence"),
                ("/points/query", "sql"),
                ("/points/query", "column_name"),
            ):
                assert_health_answers(
                    service, partial(service.post, QUESTIONS[0]), qdrant.held(path, kind), qdrant.holding
                )

    def test_health_answers_while_a_liked_answer_is_saved(self, after: SqlGenerator, qdrant: QdrantServer) -> None:
        """The other request that asks the store: it adds the last question and its SQL to the collection."""
        after.ask(QUESTIONS[0])
        former = qdrant.ids("shop-mini", "sql")
        like = partial(after.client.post, "/save-sql-feedback", json={"workspace_id": 1})
        try:
            assert_health_answers(after, like, qdrant.held("/points"), qdrant.holding)
            added = qdrant.ids("shop-mini", "sql") - former
            assert len(added) == 1
        finally:
            qdrant.collections["shop-mini"].delete({"points": list(qdrant.ids("shop-mini", "sql") - former)})

    def test_questions_at_once_are_answered_as_one_by_one(
        self, after: SqlGenerator, answers_before: dict[str, Any]
    ) -> None:
        with ThreadPoolExecutor(len(QUESTIONS)) as threads:
            assert dict(zip(QUESTIONS, threads.map(after.ask, QUESTIONS), strict=True)) == answers_before

    def test_a_question_about_nothing_finds_nothing(self, after: SqlGenerator) -> None:
        """No value resembles a keyword, so an empty list of texts is encoded."""
        found = after.ask("####### %%%%%%%")
        assert (found["similar_columns"], found["schema_with_examples"]) == ({}, {})

    def test_it_says_which_model_answers(self, after: SqlGenerator, qdrant: QdrantServer) -> None:
        told = after.client.get("/ready").json()
        assert (told["ready"], told["degraded"], told["provider"], told["model"]) == (True, None, "local", "mini")
        assert f"thoth-models.space.{told['space']}.shop-mini" in qdrant.aliases

    def test_the_gate_compares_the_bundle_that_answers(self, after: SqlGenerator, mini_bundle: Path) -> None:
        meant = hashlib.sha256((mini_bundle / "manifest.json").read_bytes()).hexdigest()
        for digest, code in ((meant, 0), ("0" * 64, 1)):
            finished = gate_process("ready", f"{after.client.base_url}/ready", "--bundle", digest)
            assert finished.returncode == code, finished.stdout

    def test_on_the_old_settings_the_new_code_does_what_the_old_did(
        self, hosted: Deployment, local: Deployment, provider: HostedProvider, answers_before: dict[str, Any]
    ) -> None:
        """The first stage of the roll-out, and the way back. A silent provider no longer takes `/health` with it."""
        counts = local.qdrant.counts()
        state = replace(local, settings=hosted.settings, is_offline=False, scratch=local.scratch / "old-settings")
        with state.sql_generator() as service:
            assert {question: service.ask(question) for question in QUESTIONS} == answers_before
            assert service.client.get("/ready").json() == {"ready": True, "degraded": None, "provider": "openai"}
            # The first request encodes what is searched for; the second one, the names of the columns.
            for after, question in enumerate(("Who supplies what is sold out?", "Which flights leave from Rome?")):
                assert_health_answers(
                    service, partial(service.post, question), provider.silent(after), provider.waiting
                )
        assert local.qdrant.counts() == counts

    def test_without_the_bundle_it_says_so_at_once_and_asks_nobody(
        self, local: Deployment, backend: httpx2.Client, tmp_path: Path
    ) -> None:
        settings = {**local.settings, "THOTH_MODELS_DIR": str(tmp_path / "nowhere")}
        state = replace(local, settings=settings, scratch=tmp_path / "scratch")
        with state.sql_generator() as service:
            ready, answer = service.client.get("/ready"), service.post(QUESTIONS[0])
            assert service.client.get("/health").status_code == 200
        assert (ready.status_code, answer.status_code) == (503, 400)
        assert "nowhere" in ready.json()["reason"]
        assert "nowhere" in answer.json()["status"]
        assert "Connection attempt" not in service.log.read_text(encoding="utf-8")
        assert state.connections() == []

    def test_without_settings_it_says_which_are_missing(self, local: Deployment, tmp_path: Path) -> None:
        """Its own check, which the guides leave as it is."""
        settings = {**local.settings, "EMBEDDING_API_KEY": "", "ENVIRONMENT": "production"}
        state = replace(local, settings=settings, scratch=tmp_path)
        with pytest.raises(AssertionError, match="'EMBEDDING_API_KEY' is not set"), state.sql_generator():
            pass


class TestThothAIBeIntegration:
    """The backend, which writes the collection."""

    def test_the_collection_is_copied_and_the_old_one_stays(
        self, local: Deployment, copied: str, qdrant: QdrantServer, provider: HostedProvider
    ) -> None:
        assert copied == "shop: 115 documents; 115 added to shop-mini; 0 differ there and stay\n"
        assert qdrant.counts() == {"shop": DOCUMENTS, "shop-mini": DOCUMENTS}
        assert {name: collection.size for name, collection in qdrant.collections.items()} == {
            "shop": 1536,
            "shop-mini": 384,
        }
        texts = provider.texts
        again = local.run("manage.py", "copy_collection", "1")
        assert again == "shop: 115 documents; 0 added to shop-mini; 0 differ there and stay\n"
        assert provider.texts == texts

    def test_embedding_workflow_complete(self, local: Deployment, backend: httpx2.Client, tmp_path: Path) -> None:
        """From nothing: a process of its own writes all documents, a worker's thread the columns again; both search."""
        with qdrant_serving() as empty:
            state = replace(local, qdrant=empty, scratch=tmp_path, backend_port=0)
            assert state.run("-c", INDEX) == "19 19 6 6\nCOMPLETED\n"
            assert empty.counts() == {"shop-mini": DOCUMENTS}
            assert len(empty.aliases) == 1
            assert state.connections() == []
            found = state.run("thoth_ai_backend/preprocessing/preprocess.py")  # the call site that was broken
            assert (found, empty.counts()["shop-mini"]["column_name"]) == ("", 180)
        former = local.qdrant.ids("shop-mini", "column_name")
        assert backend.post("/preprocessing/1").status_code == 202
        deadline = time.monotonic() + 60
        while len(local.qdrant.ids("shop-mini", "column_name") - former) < DOCUMENTS["column_name"]:
            assert time.monotonic() < deadline, local.qdrant.counts()
            time.sleep(0.1)
        assert local.qdrant.counts()["shop-mini"] == DOCUMENTS
        found = backend.get("/columns/1", params={"query": "city in which a customer lives"}).json()["found"]
        assert found[0] == "customers.city"
        with ThreadPoolExecutor(4) as threads:
            asked = threads.map(lambda _: backend.get("/columns/1", params={"query": "city of a customer"}), range(8))
            assert len({answer.text for answer in asked}) == 1
        assert local.connections() == []
        assert "gunicorn" in local.watched()

    def test_documents_that_were_added_afterwards_go_back_with_the_provider(
        self, hosted: Deployment, local: Deployment, copied: str, qdrant: QdrantServer
    ) -> None:
        code = (
            "from thoth_ai_backend.backend_utils.local_vector_store import VectorStoreFactory\n"
            "from thoth_qdrant import EvidenceDocument\n"
            f"store = VectorStoreFactory.create('qdrant', 'shop', host='127.0.0.1', port={qdrant.port})\n"
            "print(store.add_evidence(EvidenceDocument(evidence='A loyal customer has more than ten orders.')))\n"
        )
        added = local.run("-c", code).strip()
        try:
            back = replace(local, settings=hosted.settings, is_offline=False)
            printed = back.run("manage.py", "copy_collection", "1", "--from-model", "mini", "--replace")
            assert printed == "shop-mini: 116 documents; 1 added to shop; 0 differ there and were replaced\n"
            with pytest.raises(AssertionError, match="expected another collection to read than 'shop'"):
                back.run("manage.py", "copy_collection", "1")
        finally:
            for collection in qdrant.collections.values():
                collection.delete({"points": [added]})

    def test_a_collection_of_another_space_is_refused(
        self, local: Deployment, copied: str, qdrant: QdrantServer
    ) -> None:
        """A collection without a record of its space, as the release creates them."""
        kept = dict(qdrant.aliases)
        qdrant.aliases.clear()
        try:
            with pytest.raises(AssertionError, match="SpaceMismatchError: collection 'shop-mini': expected the embedd"):
                local.run("manage.py", "copy_collection", "1")
        finally:
            qdrant.aliases.update(kept)
