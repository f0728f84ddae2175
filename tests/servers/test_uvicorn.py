"""ASGI servers with several workers: what uvicorn's own recycling loses, and two ways that lose nothing."""

from __future__ import annotations

import functools
import json
import re
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.servers import documented
from tests.servers.driving import CLIENTS, JITTER, LIMIT, REQUESTS
from tests.servers.serving import WebServer, ask
from tests.support.pages import SOURCES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.driving import Trial
    from tests.servers.serving import Surroundings

pytestmark = [pytest.mark.servers, pytest.mark.onnx]

WORKERS = 2
_RECORDED = """
from tests.servers.recording import recorded_asgi

app = recorded_asgi(app)
"""
_WITHOUT = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-length", b"2"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})
"""
"""An application that has nothing to do with embeddings."""


def write(place: Path) -> None:
    documented.write(place, "asgi.py", "serve.py")
    with (place / "asgi.py").open("a", encoding="utf-8") as application:
        application.write(_RECORDED)


def test_uvicorn_that_serves_what_it_has_accepted(trial: Trial) -> None:
    write(trial.surroundings.place)
    # uvicorn takes seconds to notice that a worker has ended: a lower limit, for as many replacements as elsewhere.
    limits = {"MAX_REQUESTS": "48", "MAX_REQUESTS_JITTER": "12"}
    with WebServer(lambda _port: ["serve.py"], trial.surroundings, **limits) as server:
        answers = trial.drive(server, WORKERS)
        server.stop()
    trial.check("uvicorn, 2 workers, serve.py", answers, WORKERS, server.log())


def test_the_asgi_worker_of_gunicorn(trial: Trial) -> None:
    write(trial.surroundings.place)
    # It looks once a second whether it has had enough.
    options = [f"--workers={WORKERS}", f"--max-requests={LIMIT // 2 + JITTER}", f"--max-requests-jitter={JITTER}"]
    with WebServer(
        lambda port: ["-m", "gunicorn", "-k", "asgi", f"--bind=127.0.0.1:{port}", *options, "asgi:app"],
        trial.surroundings,
    ) as server:
        answers = trial.drive(server, WORKERS)
        server.stop()
    trial.check("gunicorn -k asgi, 2 workers", answers, WORKERS, server.log())


def test_a_worker_without_a_model_says_so(trial: Trial) -> None:
    documented.write(trial.surroundings.place, "asgi.py", "serve.py")
    missing = str(trial.surroundings.place / "none")
    with WebServer(lambda _port: ["serve.py"], trial.surroundings, THOTH_MODELS_DIR=missing) as server:
        server.until("both workers", lambda: server.log().count("Application startup complete") == WORKERS)
        assert server.request("/health")[0] == 200
        status, _process, body = server.request("/ready")
        assert status == 503
        assert missing in json.loads(body)["reason"]
        assert server.request("/embed", ["a text"])[::2] == (503, body)
        server.stop()


def test_the_dockerfile_of_the_page_starts_it_and_asks_whether_it_is_ready(trial: Trial) -> None:
    """Its CMD and its HEALTHCHECK, on another port."""
    text = (SOURCES / "docs/docker.md").read_text(encoding="utf-8").replace("\\\n", "")
    check, command = re.findall(r"^(?:HEALTHCHECK [^\n]*)?CMD (.*asgi:app.*|python3 .*)$", text, re.MULTILINE)
    documented.write(trial.surroundings.place, "asgi.py")
    for bundle, expected in ((trial.surroundings.bundle, 0), (trial.surroundings.place / "none", 1)):
        with WebServer(
            lambda port: ["-m", *json.loads(command.replace("=8000", f"={port}"))],
            trial.surroundings,
            THOTH_MODELS_DIR=str(bundle),
        ) as server:
            server.until("a worker", functools.partial(_has_started, server))
            asked = check.replace(":8000", f":{server.port}").replace("python3", sys.executable)
            finished = subprocess.run(["sh", "-c", asked], timeout=60, check=False)
            server.stop()
        assert finished.returncode == expected


def _has_started(server: WebServer) -> bool:
    return "Application startup complete" in server.log()


def _kept(surroundings: Surroundings, *command: str) -> bool:
    """Return whether a request is answered whose connection was accepted before the server was told to end."""
    with WebServer(lambda port: [part.replace("PORT", str(port)) for part in command], surroundings) as server:

        def answers() -> bool:
            try:
                return server.request("/", seconds=10)[0] in (200, 404)
            except OSError:
                return False

        server.until("the first answer", answers)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            time.sleep(0.3)  # accepted by then
            server.process.terminate()
            time.sleep(0.3)  # on its way to the end
            try:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return connection.recv(100).startswith(b"HTTP/1.1 ")
            except ConnectionError:
                return False


def test_control_uvicorn_alone_loses_requests(trial: Trial) -> None:
    """Without this library: a connection that it has accepted, and not read from. If it is kept, the page is wrong."""
    place = trial.surroundings.place
    (place / "without.py").write_text(_WITHOUT, encoding="utf-8")
    limits = [f"--limit-max-requests={LIMIT}", f"--limit-max-requests-jitter={JITTER}"]
    with WebServer(
        lambda port: ["-m", "uvicorn", "without:app", f"--port={port}", "--workers=2", "--no-access-log", *limits],
        trial.surroundings,
    ) as server:
        server.until("the first answer", lambda: "Application startup complete" in server.log())
        server.until("the second worker", lambda: server.log().count("Application startup complete") == 2)

        def once(_number: int) -> str:
            assert server.request("/embed", ["a text"])[0] == 200
            return "one"

        answers = ask(REQUESTS, CLIENTS, once)
    trial.ledger.add(
        f"control, uvicorn without this library: {REQUESTS} requests, {answers.lost.total()} lost while recycling"
    )
    if not answers.lost and _kept(trial.surroundings, "-m", "uvicorn", "without:app", "--port=PORT"):
        pytest.skip("uvicorn alone serves what it has accepted: docs/processes.md need not tell how to any more")


def test_what_was_accepted_is_served(trial: Trial) -> None:
    """The same, with what the page tells to do."""
    write(trial.surroundings.place)
    assert _kept(trial.surroundings, "serve.py")
    settings = ["--bind=127.0.0.1:PORT", "--workers=2", "--graceful-timeout=10"]
    assert _kept(trial.surroundings, "-m", "gunicorn", "-k", "asgi", *settings, "asgi:app")
