"""sql_generator as the guide makes it, built and started beside a Hub that says nothing: what used to hang is answered.

The image is built from the guide's own Dockerfile. Three of its steps are replaced, because they need what no test
has: the base image, the download of uv, and ``uv sync`` with its lock. The guide's own steps are run by uv as they are,
without a network. Qdrant, the backend and the Hub are on this computer; the container's network leads nowhere else.
"""

from __future__ import annotations

import json
import re
import runpy
import shutil
import socket
import threading
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.docker.service_support import (
    PYTHON_IMAGE,
    ROOT,
    Images,
    address_of,
    container,
    docker,
    docker_result,
    inspect,
    internal_network,
    shared_images,
)
from tests.migration.deployment import LOCAL
from tests.migration.guides import REPLICA, SERVICES, migrated
from tests.support.qdrant_points import qdrant_serving
from tests.support.released import ITS_CLIENT, THOTH_QDRANT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.docker, pytest.mark.onnx]

QUESTION = {
    "question": "In which city do the customers live?",
    "workspace_id": 1,
    "functionality_level": "BASIC",
    "flags": {},
}
HANGS_SECONDS = 3.0
HEALTH_SECONDS = 1.0
PYTHON = "/app/.venv/bin/python"
HARDENED = ("--read-only", "--user=65532:65532", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")

FILL = """
import json, os, sys
from helpers.local_vector_store import VectorStoreFactory
from thoth_qdrant import ColumnNameDocument
store = VectorStoreFactory.create("qdrant", "shop", host=sys.argv[1], port=int(sys.argv[2]))
store.bulk_add_documents([
    ColumnNameDocument(
        table_name=table, column_name=column, original_column_name=column,
        column_description=description, value_description="", text=f"{table}.{column}: {description}",
    )
    for table, columns in json.loads(sys.argv[3]).items() for column, description in columns.items()
])
"""
"""Writes the collection, as the backend does."""


@pytest.fixture(scope="module")
def schema() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = runpy.run_path(str(REPLICA / "backend/thoth_ai_backend/schema.py"))["COLUMNS"]
    return found


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of the guide."""
    images = shared_images()
    tree = migrated(tmp_path_factory.mktemp("sql-generator") / "tree")
    service = tree / SERVICES["sql_generator"]
    shutil.copy(service / "pyproject.toml", service / "pyproject.toml.merged")
    (service / "uv.lock").touch()
    shutil.copytree(wheels(images, tree.parent), tree / "wheels")
    dockerfile = tree / "docker/sql-generator.Dockerfile"
    replaced = with_what_a_test_has(dockerfile.read_text(encoding="utf-8"))
    dockerfile.write_text(replaced, encoding="utf-8")
    tag = images.tag("sql-generator")
    built = images.build(
        tree, f"--file={dockerfile}", f"--tag={tag}", f"--build-arg=THOTH_MODELS={images.models()}", buildkit=False
    )
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    return tag


def wheels(images: Images, place: Path) -> Path:
    """Gather what the service is made of, at the versions of its lock where that matters."""
    pinned = {pin.distribution: f"{pin.distribution}=={pin.version}" for pin in (THOTH_QDRANT, ITS_CLIENT)}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.partition("==")[0] not in pinned]
    constraints = place / "constraints.txt"
    constraints.write_text("\n".join([*kept, *pinned.values(), ""]), encoding="utf-8")
    needed = ("fastapi", "uvicorn", "httpx", "openai", "numpy", "onnxruntime", "tokenizers", "uv", *pinned.values())
    return images.wheelhouse("sql-generator", "--constraint", str(constraints), *needed)


def with_what_a_test_has(dockerfile: str) -> str:
    """Replace the three steps that need a registry or an index."""
    install = "uv pip install --no-index --find-links=/wheels --python /app/.venv/bin/python"
    steps = {
        r"^FROM python:3\.13-slim$": f"FROM {PYTHON_IMAGE}",
        r"^RUN apt-get (?:.*\\\n)*.*$": (
            "COPY wheels /wheels\nRUN python3 -m pip install --quiet --no-index --find-links=/wheels uv"
        ),
        r"^RUN uv sync .*$": f"RUN uv venv /app/.venv && {install} --requirement /wheels/requirements.txt",
    }
    for pattern, step in steps.items():
        dockerfile, count = re.subn(pattern, step, dockerfile, flags=re.MULTILINE)  # without a backslash in any step
        assert count == 1, pattern
    return dockerfile


class Silent:
    """A Hub, or a provider, that accepts connections and says nothing."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("0.0.0.0", 0), backlog=64)  # noqa: S104 - the container reaches it
        self.port = int(self._listening.getsockname()[1])
        self.accepted: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self.accepted.append(self._listening.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self._listening.close()
        for connection in self.accepted:
            connection.close()


@contextmanager
def backend_serving(workspace: dict[str, Any], tables: dict[str, Any], go: threading.Event) -> Iterator[int]:
    """Answer what sql_generator asks the backend; the tables when the event is set."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "/tables/" in self.path:
                go.wait(timeout=30)
            body = json.dumps(workspace if "/workspace/" in self.path else tables).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("0.0.0.0", 0), Handler) as server:  # noqa: S104 - the container reaches it
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


def slowest_health(client: httpx2.Client, is_over: threading.Event) -> float:
    slowest = 0.0
    while not is_over.is_set():
        began = time.monotonic()
        assert client.get("/health").status_code == 200
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.02)
    return slowest


def when_it_listens(client: httpx2.Client, name: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            client.get("/health")
        except httpx2.TransportError:
            assert time.monotonic() < deadline, docker("logs", name)
            time.sleep(0.1)
        else:
            return


def test_checks_need_the_entry_point_by_name_and_the_right_environment(image: str) -> None:
    alone = ["run", "--rm", "--network=none"]
    found = docker(*alone, "--entrypoint=/app/.venv/bin/thoth-models", image, "doctor", "--all")
    assert "mini" in found
    refused = docker_result(*alone, image, "thoth-models", "doctor", "--all")
    assert (refused.returncode, "/secrets/django_api_key" in refused.stdout) == (1, True)
    # UV_SYSTEM_PYTHON is set, so that without --python the wheel would be in the system's Python instead.
    for python, is_there in ((PYTHON, True), ("/usr/bin/python3", False)):
        finished = docker_result(*alone, f"--entrypoint={python}", image, "-c", "import thoth_models")
        assert (finished.returncode == 0) is is_there, finished.stderr


@pytest.mark.hostile
@pytest.mark.alone
def test_the_migrated_image_answers_beside_a_silent_hub(
    image: str, schema: dict[str, dict[str, str]], tmp_path: Path, tell: Callable[[str], None]
) -> None:
    key = tmp_path / "key"
    key.write_text("bait", encoding="utf-8")
    with internal_network() as network, qdrant_serving("0.0.0.0") as qdrant, closing(Silent()) as silent:  # noqa: S104
        (here,) = [one["Gateway"] for one in inspect(network)["IPAM"]["Config"]]
        named = {"name": "shop", "host": here, "port": qdrant.port, "vect_type": "Qdrant"}
        workspace = {"name": "Demo", "sql_db": {"db_name": "shop", "vector_db": named}}
        go = threading.Event()
        with backend_serving(workspace, schema, go) as port:
            common = [*HARDENED, f"--network={network}", f"--volume={key}:/secrets/django_api_key:ro"]
            settings = {
                "PORT": "8020",
                "DJANGO_SERVER": f"http://{here}:{port}",
                # Code that asked a hub or a provider would ask here.
                "HF_ENDPOINT": f"http://{here}:{silent.port}",
                "EMBEDDING_BASE_URL": f"http://{here}:{silent.port}/v1",
            }
            hosted = {
                **settings,
                "EMBEDDING_PROVIDER": "openai",
                "EMBEDDING_MODEL": "text-embedding-3-small",
                "EMBEDDING_API_KEY": "bait",
            }
            # The control: on the settings of before, the request waits for the other end.
            go.set()
            with running(image, common, hosted) as (name, client):
                with pytest.raises(httpx2.ReadTimeout):
                    client.post("/generate-sql", json=QUESTION, timeout=HANGS_SECONDS)
                assert client.get("/health", timeout=HEALTH_SECONDS).status_code == 200
            asked = len(silent.accepted)
            assert asked > 0

            with running(image, common, {**settings, **LOCAL}) as (name, client):
                docker("exec", name, PYTHON, "-c", FILL, here, str(qdrant.port), json.dumps(schema))
                assert qdrant.counts()["shop-mini"] == {"column_name": 90}
                is_over = threading.Event()
                go.clear()
                with httpx2.Client(base_url=client.base_url, timeout=60, trust_env=False) as other:
                    healths: list[float] = []
                    thread = threading.Thread(target=lambda: healths.append(slowest_health(other, is_over)))
                    thread.start()
                    threading.Timer(
                        0.5, go.set
                    ).start()  # a backend that takes its time keeps the question alone waiting
                    began = time.monotonic()
                    answer = client.post("/generate-sql", json=QUESTION)
                    seconds = time.monotonic() - began
                    is_over.set()
                    thread.join()
                ready = client.get("/ready").json()
            tell(f"sql_generator after the guide: POST {seconds:.2f} s, slowest /health meanwhile {healths[0]:.3f} s")
            assert answer.status_code == 200, answer.text
            (line,) = [line for line in answer.text.splitlines() if line.startswith("RESULT:")]
            found = json.loads(line.removeprefix("RESULT:"))
            assert "city" in found["similar_columns"]["customers"]
            assert "city" in found["schema_from_vector_db"]["customers"]
            assert (ready["ready"], ready["provider"], ready["model"]) == (True, "local", "mini")
            assert healths[0] < HEALTH_SECONDS
            assert len(silent.accepted) == asked  # zero connections of its own


@contextmanager
def running(image: str, options: list[str], settings: dict[str, str]) -> Iterator[tuple[str, httpx2.Client]]:
    """Run the service until it listens."""
    variables = [f"--env={name}={value}" for name, value in settings.items()]
    with container(image, *options, *variables) as name:
        address = f"http://{address_of(name)}:8020"
        with httpx2.Client(base_url=address, timeout=60, trust_env=False) as client:
            when_it_listens(client, name)
            yield name, client
