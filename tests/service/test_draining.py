from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.service.serving import SECONDS, Words
from tests.support.projects import environment_of_children

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.service.serving import Service

LONG = 3600.0


def draining_service(serve: Callable[..., Service], **settings: float) -> Service:
    service = serve(Words().load, **settings)
    service.until_ready()
    return service


def test_a_service_that_was_asked_to_stop_is_not_ready_and_goes_on_answering(serve: Callable[..., Service]) -> None:
    service = draining_service(serve, drain_seconds=LONG)
    service.server.handle_exit(signal.SIGTERM, None)
    answer = service.client.get("/ready")
    assert (answer.status_code, answer.json()["state"]) == (503, "draining")
    assert service.client.get("/health").status_code == 200
    # Over a new connection as well: a load balancer sends some until it has noticed.
    asked = httpx2.post(service.client.base_url.join("/generate-sql"), json={"question": "city"}, trust_env=False)
    assert asked.status_code != 503
    assert service.ask("city of the customer")[-1]["phase"] == "sql"
    assert service.thread.is_alive()


def test_it_ends_when_the_time_is_over(serve: Callable[..., Service]) -> None:
    service = draining_service(serve, drain_seconds=0.2)
    service.client.close()
    service.server.handle_exit(signal.SIGTERM, None)
    service.thread.join(SECONDS)
    assert not service.thread.is_alive()


@pytest.mark.parametrize(
    ("signals", "drain_seconds"),
    [([signal.SIGTERM], 0.0), ([signal.SIGINT], LONG), ([signal.SIGTERM, signal.SIGTERM], LONG)],
)
def test_it_ends_at_once(serve: Callable[..., Service], signals: list[signal.Signals], drain_seconds: float) -> None:
    service = draining_service(serve, drain_seconds=drain_seconds)
    service.client.close()
    for number in signals:
        service.server.handle_exit(number, None)
        service.server._captured_signals.clear()  # they would be raised again, in this process
    service.thread.join(SECONDS)
    assert not service.thread.is_alive()


def test_a_request_on_a_connection_that_was_accepted_before_is_answered(serve: Callable[..., Service]) -> None:
    """uvicorn's own protocol closes it: the client finds its connection reset, and does not know why."""
    service = draining_service(serve)
    service.client.close()
    url = service.client.base_url
    with socket.create_connection((url.host, url.port or 0), timeout=SECONDS) as connection:
        deadline = time.monotonic() + SECONDS
        while not service.server.server_state.connections:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        service.server.should_exit = True
        while service.server.servers[0].is_serving():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_sigterm_does_all_that_in_a_real_process(models: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    settings = {"SERVICE_HOST": "127.0.0.1", "SERVICE_PORT": port, "SERVICE_DRAIN_SECONDS": "1"}
    path = os.pathsep.join(sys.path)
    environment = {**environment_of_children(), **settings, "THOTH_MODELS_DIR": "/nowhere", "PYTHONPATH": path}
    process = subprocess.Popen([sys.executable, "-m", "example_service"], env=environment)
    try:
        deadline = time.monotonic() + SECONDS
        states: list[str] = []
        while "draining" not in states:
            assert time.monotonic() < deadline, states
            try:
                states.append(httpx2.get(f"http://127.0.0.1:{port}/ready", trust_env=False).json()["state"])
            except httpx2.TransportError:
                time.sleep(0.05)
            if states.count("failed") == 1 and states[-1] == "failed":  # it has no models, and lives
                process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait()
