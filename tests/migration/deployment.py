"""Both services as processes of their own, with the settings of an environment file, beside a Qdrant and a provider."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from tests.migration import hosted
from tests.migration.guides import SERVICES
from tests.support.projects import environment_of_children

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.migration.hosted import HostedProvider
    from tests.support.qdrant_points import QdrantServer

WATCHING = Path(__file__).with_name("watching")
LOCAL = {"EMBEDDING_PROVIDER": "local", "EMBEDDING_MODEL": "mini", "EMBEDDING_API_KEY": "unused"}
"""What the guides put into the environment file."""

INDEX = """
import os, django
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "Thoth.settings")
django.setup()
from thoth_ai_backend.preprocessing.upload_evidence import upload_evidence_to_vectordb
from thoth_ai_backend.preprocessing.upload_questions import upload_questions_to_vectordb
from thoth_ai_backend.async_tasks import run_preprocessing_task
from thoth_core.models import Workspace
print(*upload_evidence_to_vectordb(workspace_id=1), *upload_questions_to_vectordb(workspace_id=1))
run_preprocessing_task(workspace_id=1)
print(Workspace.objects.get(id=1).preprocessing_status)
"""
"""What the backend's start script runs at the first start of a container, in a process of its own."""

_SECONDS = 120.0
_DROPPED = ("HF_", "TRANSFORMERS_", "SENTENCE_TRANSFORMERS_", "THOTH_", "EMBEDDING_", "OPENAI_", "DJANGO_")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Deployment:
    """One state of the repository with one set of settings.

    Attributes:
        tree: The repository, as it was or as the guides make it.
        qdrant: The store that both services use.
        settings: The environment file.
        packages: Where the released packages are imported from.
        scratch: A directory for what is written down.
        is_offline: Whether connections are forbidden, but for those to the store and to the backend.
    """

    tree: Path
    qdrant: QdrantServer
    settings: Mapping[str, str]
    packages: list[Path]
    scratch: Path
    is_offline: bool = False
    backend_port: int = field(default_factory=free_port)

    def environment(self) -> dict[str, str]:
        inherited = environment_of_children()
        kept = {name: value for name, value in inherited.items() if not name.startswith(_DROPPED)}
        paths = [WATCHING, *self.packages, *filter(None, inherited["PYTHONPATH"].split(os.pathsep))]
        self.scratch.mkdir(parents=True, exist_ok=True)
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]]),
            "CONNECTIONS": "forbidden" if self.is_offline else "counted",
            "CONNECTIONS_FILE": str(self.scratch / "connections"),
            "CONNECTIONS_WANTED": f"{self.qdrant.port},{self.backend_port}",
            "NO_PROXY": "127.0.0.1",
            "SECRET_KEY": "bait",
            "DJANGO_API_KEY": "bait",
            "DJANGO_SERVER": f"http://127.0.0.1:{self.backend_port}",
            "QDRANT": f"127.0.0.1:{self.qdrant.port}",
            "THOTH_MODELS_THREADS": "1",
            **self.settings,
        }

    def run(self, *arguments: str) -> str:
        """Run Python in the backend's directory, and return what it printed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.tree / SERVICES["thoth_be"],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextlib.contextmanager
    def backend(self) -> Iterator[httpx2.Client]:
        """Run the backend under gunicorn, by its own start script."""
        more = {"BIND": f"127.0.0.1:{self.backend_port}", "WORKERS": "2"}
        with self._running(
            "thoth_be", ["bash", "scripts/start.sh"], more, self.backend_port, "/admin/login/"
        ) as client:
            yield client

    @contextlib.contextmanager
    def sql_generator(self) -> Iterator[SqlGenerator]:
        """Run sql_generator under uvicorn, in one process; it needs the backend."""
        port = free_port()
        command = [sys.executable, "run_server.py", str(port)]
        with self._running("sql_generator", command, {}, port, "/health") as client:
            yield SqlGenerator(client, self.scratch / "sql_generator.log")

    def connections(self) -> list[str]:
        """Return what watched processes tried to connect to or to look up."""
        return [line for line in self._lines() if not line.startswith("watching ")]

    def watched(self) -> str:
        """Return the processes that were watched."""
        return "\n".join(line for line in self._lines() if line.startswith("watching "))

    def _lines(self) -> list[str]:
        return (self.scratch / "connections").read_text(encoding="utf-8").splitlines()

    @contextlib.contextmanager
    def _running(
        self, service: str, command: list[str], more: Mapping[str, str], port: int, path: str
    ) -> Iterator[httpx2.Client]:
        environment = {**self.environment(), **more}
        log = self.scratch / f"{service}.log"
        with (
            log.open("wb") as output,
            subprocess.Popen(
                command, cwd=self.tree / SERVICES[service], env=environment, stdout=output, stderr=subprocess.STDOUT
            ) as process,
            httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=_SECONDS, trust_env=False) as client,
        ):
            try:
                deadline = time.monotonic() + _SECONDS
                while not _listens(client, path):
                    assert process.poll() is None, log.read_text(encoding="utf-8")
                    assert time.monotonic() < deadline, f"{service} does not listen"
                    time.sleep(0.1)
                yield client
            finally:
                process.terminate()


@dataclass(frozen=True)
class SqlGenerator:
    """The service as its callers see it."""

    client: httpx2.Client
    log: Path

    def post(self, question: str) -> httpx2.Response:
        body = {"question": question, "workspace_id": 1, "functionality_level": "BASIC", "flags": {}}
        return self.client.post("/generate-sql", json=body)

    def ask(self, question: str) -> dict[str, Any]:
        """Return what was found out about a question."""
        answer = self.post(question)
        assert answer.status_code == 200, answer.text
        assert "WARNING" not in answer.text, answer.text
        (line,) = [line for line in answer.text.splitlines() if line.startswith("RESULT:")]
        found: dict[str, Any] = json.loads(line.removeprefix("RESULT:"))
        return found


def hosted_settings(provider: HostedProvider) -> dict[str, str]:
    """Return the environment file of a service whose vectors come from the provider."""
    return {
        "EMBEDDING_PROVIDER": "openai",
        "EMBEDDING_MODEL": hosted.MODEL,
        "EMBEDDING_API_KEY": "bait",
        "EMBEDDING_BASE_URL": provider.url,
    }


def _listens(client: httpx2.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx2.TransportError:
        return False
