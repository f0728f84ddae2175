"""The service as its callers see it: the same tests before and after the migration."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

ROOT = Path(__file__).parents[1]
QUERIES = [
    "city of the customer",
    "pupils who eat for free",
    "wages of the staff",
    "delayed arrival of a plane",
    "goals of the team",
    "turnover without cancellations",
    "credito non rimborsato",
]
NEW = [f"archive.column_{number}: field {number} of the archive" for number in range(10)]
SECONDS = 120


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = tmp_path_factory.mktemp("index") / "index.npz"
    return {**os.environ, "INDEX_FILE": str(file), "PORT": str(port), "WEB_CONCURRENCY": "2"}


@pytest.fixture(scope="module")
def indexed(environment: dict[str, str]) -> str:
    """The index, made by a process of its own, as at the first start of a container."""
    command = [sys.executable, "manage.py", "index_documents"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def service(environment: dict[str, str], indexed: str) -> Iterator[httpx2.Client]:
    """The service under gunicorn, with the settings of its image but for the number of workers."""
    command = [sys.executable, "-m", "gunicorn", "thoth_be.wsgi"]
    address = f"http://127.0.0.1:{environment['PORT']}"
    with (
        subprocess.Popen(command, cwd=ROOT, env=environment) as process,
        httpx2.Client(base_url=address, timeout=SECONDS, trust_env=False) as client,
    ):
        try:
            deadline = time.monotonic() + SECONDS
            while not listens(client):
                assert process.poll() is None, "the service ended"
                assert time.monotonic() < deadline, "the service does not listen"
                time.sleep(0.1)
            yield client
        finally:
            process.terminate()


def listens(client: httpx2.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx2.TransportError:
        return False


def search(service: httpx2.Client, query: str, threshold: float = 0.45) -> list[dict[str, Any]]:
    answer = service.post("/api/search", json={"query": query, "threshold": threshold, "limit": 10})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["found"]
    return found


def test_the_index_is_made_by_a_process_of_its_own(indexed: str) -> None:
    assert indexed.strip() == "109 documents"


def test_queries_find_what_they_mean(service: httpx2.Client) -> None:
    found = {query: search(service, query, threshold=0.35) for query in QUERIES}
    assert found[QUERIES[0]][0]["text"].startswith("customers.city")
    assert found[QUERIES[1]][0]["text"].startswith("schools.free_meals")
    assert all(one["score"] >= 0.35 for listed in found.values() for one in listed)
    if file := os.environ.get("RANKINGS_FILE"):
        Path(file).write_text(json.dumps(found), encoding="utf-8")


def test_both_workers_answer_alike(service: httpx2.Client) -> None:
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda _: search(service, QUERIES[0]), range(12)))
    first = [(one["text"], pytest.approx(one["score"], abs=1e-5)) for one in together[0]]
    assert all([(one["text"], one["score"]) for one in found] == first for found in together)


def test_documents_are_added_in_the_background(service: httpx2.Client) -> None:
    """A batch of ten, then one alone."""
    for texts in (NEW, ["archive.owner: who owns the archive"]):
        before = service.get("/api/documents").json()["count"]
        assert service.post("/api/documents", json={"texts": texts}).status_code == 202
        deadline = time.monotonic() + SECONDS
        while service.get("/api/documents").json()["count"] < before + len(texts):
            assert time.monotonic() < deadline, "the documents were not added"
            time.sleep(0.1)
    assert search(service, "owner of the archive")[0]["text"] == "archive.owner: who owns the archive"
