"""The example service in containers: built both ways, run as the compose file says, cold and under load."""

from __future__ import annotations

import json
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import yaml

from bench.containers import HARDENED
from tests.docker.service_support import (
    DOCKER,
    MODEL,
    SERVICE_DOCKERFILES,
    Images,
    address_of,
    container,
    cosines,
    docker,
    docker_result,
    embed,
    golden_of,
    health_of,
    inspect,
    internal_network,
    shared_images,
)
from thoth_models import load_embedding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.docker, pytest.mark.torch, pytest.mark.onnx]

COLD_SECONDS = 5.0
HEALTH_SECONDS = 0.2
REQUESTS = 50
QUESTION = {"question": "In which city do the customers live?", "workspace_id": 1, "functionality_level": "BASIC"}
PYTHON = "/app/.venv/bin/python"


@pytest.fixture(scope="module")
def images() -> Images:
    return shared_images()


@pytest.fixture(params=sorted(SERVICE_DOCKERFILES))
def service(request: pytest.FixtureRequest, images: Images) -> str:
    """The image of the service, built each way."""
    return images.service(request.param)


@pytest.fixture
def network() -> Iterator[str]:
    with internal_network() as name:
        yield name


def composed() -> list[str]:
    """Return the options of ``docker run`` that say what the compose file says, all but the name of its network."""
    compose: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    (service,) = compose["services"].values()
    health = service.pop("healthcheck")
    test = health.pop("test")
    assert test.pop(0) == "CMD"
    options = ["--read-only"] if service.pop("read_only") else []
    options += [f"--tmpfs={mount}" for mount in service.pop("tmpfs")]
    options += [f"--cap-drop={name}" for name in service.pop("cap_drop")]
    options += [f"--security-opt={option}" for option in service.pop("security_opt")]
    options += [f"--env={name}={value}" for name, value in service.pop("environment").items()]
    names = {"user": "user", "pids_limit": "pids-limit", "cpus": "cpus", "mem_limit": "memory"}
    names |= {"memswap_limit": "memory-swap", "restart": "restart"}
    options += [f"--{option}={service.pop(name)}" for name, option in names.items()]
    names = {"interval": "interval", "timeout": "timeout", "retries": "retries", "start_period": "start-period"}
    options += [f"--health-{option}={health.pop(name)}" for name, option in names.items()]
    options.append(f"--health-cmd={shlex.join(test)}")
    service.pop("stop_grace_period")
    assert sorted(service) == ["image", "networks"]  # nothing in the file is left out here
    assert health == {}
    return options


def client_of(name: str, *, timeout: float = 60.0) -> httpx2.Client:
    return httpx2.Client(base_url=f"http://{address_of(name)}:8020", timeout=timeout, trust_env=False)


def when_it_listens(client: httpx2.Client, method: str, path: str, **options: Any) -> httpx2.Response:
    """Ask as soon as the port is open."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return client.request(method, path, **options)
        except httpx2.ConnectError:
            assert time.monotonic() < deadline, "the service does not listen"
            time.sleep(0.02)


def until_ready(client: httpx2.Client) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        answer: dict[str, Any] = when_it_listens(client, "GET", "/ready").json()
        if answer["state"] != "loading":
            assert answer["ready"], answer
            return answer
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)


def phases_of(answer: httpx2.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_the_right_vectors_come_out_of_a_service_image(images: Images, service: str) -> None:
    golden = golden_of(images.bundle)
    vectors = embed(service, golden.texts[:8], python=[PYTHON, "-m", "thoth_models"])
    assert cosines(vectors, golden.vectors[:8]).min() > 0.9999


def test_an_environment_of_its_own_takes_nothing_from_the_python_of_the_image(images: Images) -> None:
    code = "import thoth_models, onnxruntime, fastapi"
    for python, is_there in ((PYTHON, True), ("python3", False)):
        options = ["--rm", *HARDENED, "--env=PATH=/usr/local/bin:/usr/bin:/bin"]
        finished = docker_result("run", *options, images.service("copy-from"), python, "-c", code)
        assert (finished.returncode == 0) is is_there, finished.stderr


@pytest.mark.alone
def test_the_request_that_used_to_hang_is_answered_on_a_cold_container(
    service: str, network: str, tell: Callable[[str], None]
) -> None:
    started = time.monotonic()
    with container(service, *composed(), f"--network={network}", f"--env=SERVICE_MODEL={MODEL}") as name:
        with client_of(name) as client:
            phases = phases_of(when_it_listens(client, "POST", "/generate-sql", json=QUESTION))
        seconds = time.monotonic() - started
    tell(f"POST answered {seconds:.2f} s after `docker run` (bound {COLD_SECONDS:g} s)")
    assert [phase["phase"] for phase in phases] == ["keywords", "schema", "evidence", "examples", "sql"]
    assert any(column["column"] == "city" for column in phases[1]["columns"])
    assert "customer.city" in phases[4]["sql"]
    assert seconds < COLD_SECONDS


def test_it_runs_as_the_compose_file_says_and_becomes_healthy(service: str, network: str) -> None:
    options = [*composed(), f"--network={network}", f"--env=SERVICE_MODEL={MODEL}", "--health-interval=1s"]
    with container(service, *options) as name, client_of(name) as client:
        answer = until_ready(client)
        assert (answer["model"], answer["variant"], answer["degraded"]) == (MODEL, "onnx-fp32", None)
        assert answer["golden_cosine"] > 0.9999
        assert health_of(name, timeout=30).startswith("healthy")
        host = inspect(name)["HostConfig"]
        assert (host["ReadonlyRootfs"], host["CapDrop"], host["NanoCpus"]) == (True, ["ALL"], 2_000_000_000)
        assert host["Memory"] == host["MemorySwap"] == 1 << 30


def described_workspace() -> dict[str, Any]:
    """A thousand columns in twenty tables, evidence and examples, in plain words."""
    tables = (
        "employee", "customer", "supplier", "invoice", "shipment", "warehouse", "contract", "vehicle", "building",
        "course", "patient", "flight", "hotel", "school", "team", "song", "film", "book", "recipe", "garden",
    )  # fmt: skip
    properties = {
        "name": "what it is called", "salary": "money that is paid each month", "birth_date": "day of birth",
        "address": "street and town", "phone": "telephone number", "colour": "its colour", "weight": "how heavy it is",
        "price": "what it costs", "rating": "how good people find it", "language": "language that is spoken in it",
    }  # fmt: skip
    columns = [
        {"table": table, "name": name if part == 0 else f"{name}_{part}", "meaning": f"{meaning}, part {part}"}
        for table in tables
        for name, meaning in properties.items()
        for part in range(5)
    ]
    return {
        "columns": columns,
        "evidence": [
            "A heavy vehicle is one that weighs more than three and a half tons.",
            "The salary of an employee is paid in euro, before taxes.",
            "A flight is late when it lands more than fifteen minutes after its time.",
        ],
        "examples": [
            {"question": "Who earns the most money?", "sql": "SELECT name FROM employee ORDER BY salary DESC LIMIT 1"},
            {"question": "Which films are in French?", "sql": "SELECT name FROM film WHERE language = 'French'"},
        ],
    }


def document_of(column: dict[str, str]) -> str:
    return f"{column['name'].replace('_', ' ')} of {column['table']}: {column['meaning']}"


def test_a_thousand_columns_are_indexed_and_questions_answered_over_them(
    images: Images, network: str, tell: Callable[[str], None]
) -> None:
    """The two workflows of a service, with real vectors: similarities are those of the reference, thresholds decide."""
    reference = load_embedding(MODEL, root=images.bundle, variants=["torch-fp32"])
    body = described_workspace()
    documents = {(column["table"], column["name"]): document_of(column) for column in body["columns"]}
    assert len(documents) == 1000
    vectors = reference.encode(list(documents.values()))
    options = [*composed(), f"--network={network}", f"--env=SERVICE_MODEL={MODEL}"]
    with container(images.service("from"), *options) as name, client_of(name) as client:
        until_ready(client)
        started = time.monotonic()
        indexed = client.put("/workspaces/7", json=body)
        seconds = time.monotonic() - started
        assert indexed.status_code == 200, indexed.text
        assert (indexed.json()["columns"], indexed.json()["space"]) == (1000, reference.info.space)
        question = "Which employee has the highest salary?"
        answer = client.post(
            "/generate-sql", json={**QUESTION, "question": question, "workspace_id": 7, "functionality_level": "EXPERT"}
        )
        stats = client.get("/stats").json()["models"][MODEL]
    tell(f"1,000 columns, 3 rules and 2 examples were indexed in {seconds:.2f} s")
    keywords, schema, evidence, examples, sql = phases_of(answer)
    expected = (vectors @ reference.encode(keywords["keywords"]).T).max(axis=1)
    similarity = dict(zip(documents, expected.tolist(), strict=True))
    for column in schema["columns"]:
        assert column["similarity"] == pytest.approx(similarity[column["table"], column["column"]], abs=1e-3)
        assert column["similarity"] >= 0.4
    assert len(schema["columns"]) == min(16, sum(value >= 0.4 for value in similarity.values()))
    assert ("employee", "salary") in {(column["table"], column["column"]) for column in schema["columns"]}
    asked = reference.encode(question)
    for found, texts, key, threshold in (
        (evidence["evidence"], body["evidence"], "text", 0.35),
        (examples["examples"], [example["question"] for example in body["examples"]], "question", 0.45),
    ):
        expected = reference.encode(texts) @ asked
        wanted = {text: value for text, value in zip(texts, expected.tolist(), strict=True) if value >= threshold}
        assert wanted, "the threshold lets something through"
        assert len(wanted) < len(texts), "and keeps something out"
        assert {one[key]: one["similarity"] for one in found} == pytest.approx(wanted, abs=1e-3)
    assert "employee.salary" in sql["sql"]
    assert stats["loads"] == 1
    assert stats["texts"] >= 1005


@pytest.mark.alone
def test_health_answers_while_many_requests_encode(images: Images, network: str, tell: Callable[[str], None]) -> None:
    slowest = slowest_health(images, network, tell)
    if slowest >= HEALTH_SECONDS:
        # Beside much else, perhaps. What is late by itself is late again.
        slowest = slowest_health(images, network, tell)
    assert slowest < HEALTH_SECONDS


def slowest_health(images: Images, network: str, tell: Callable[[str], None]) -> float:
    """Return the seconds that the slowest answer of /health took while many requests were encoded."""
    # As many words as the strings that sql_generator encodes for a question.
    question = {**QUESTION, "question": " ".join(f"customer{number} city{number}" for number in range(45))}
    options = [*composed(), f"--network={network}", f"--env=SERVICE_MODEL={MODEL}"]
    with container(images.service("from"), *options) as name, client_of(name) as client, client_of(name) as other:
        until_ready(client)
        answers_of_health = []
        with ThreadPoolExecutor(REQUESTS) as callers:
            asked = [callers.submit(other.post, "/generate-sql", json=question) for _ in range(REQUESTS)]
            while not all(answer.done() for answer in asked):
                started = time.monotonic()
                assert client.get("/health").status_code == 200
                waiting = sum(not answer.done() for answer in asked)
                answers_of_health.append((time.monotonic() - started, waiting))
                time.sleep(0.01)
        assert all(phases_of(answer.result())[-1]["phase"] == "sql" for answer in asked)
    slowest = max(seconds for seconds, _ in answers_of_health)
    tell(
        f"/health answered {len(answers_of_health)} times while {REQUESTS} requests were encoded, "
        f"in {slowest * 1000:.0f} ms at most (bound {HEALTH_SECONDS * 1000:.0f} ms)",
    )
    # That they were encoded meanwhile, and not one after the other before or afterwards.
    assert sum(waiting > REQUESTS // 2 for _, waiting in answers_of_health) > 10
    return slowest


def test_a_service_without_its_models_says_so_and_lives(service: str, network: str) -> None:
    options = [*composed(), f"--network={network}", "--env=THOTH_MODELS_DIR=/nowhere"]
    with container(service, *options) as name, client_of(name) as client:
        assert when_it_listens(client, "GET", "/health").status_code == 200
        deadline = time.monotonic() + 30
        while (answer := client.get("/ready").json())["state"] == "loading" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert answer["state"] == "failed"
        assert "BundleNotFoundError" in answer["reason"]
        assert client.post("/generate-sql", json=QUESTION).status_code == 503


def test_it_ends_at_once_when_it_is_told_to(service: str, network: str) -> None:
    options = [*composed(), f"--network={network}", f"--env=SERVICE_MODEL={MODEL}"]
    with container(service, *options) as name, client_of(name) as client:
        until_ready(client)
        started = time.monotonic()
        docker("stop", "--time=10", name)
        assert time.monotonic() - started < 6
        assert inspect(name)["State"]["ExitCode"] == 0
