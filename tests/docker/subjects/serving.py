"""A service behind gunicorn, asked once: what the subjects have in common that fork by ``--preload``."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time

from tests.docker.subjects.events import tell

_PLACE = "/tmp/served.sock"  # noqa: S108 - of a container
_SECONDS = 60.0


def serve_and_ask(application: str) -> None:
    """Start gunicorn on a Unix socket, with the application loaded before its workers are forked; ask for vectors."""
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers=2", "--timeout=600", f"--bind=unix:{_PLACE}"]
    server = subprocess.Popen([*command, "--worker-tmp-dir=/dev/shm", f"tests.docker.subjects.{application}:app"])
    connection = http.client.HTTPConnection("localhost")
    connection.sock = _connect(server)
    tell("go")
    connection.request("GET", "/")
    reply = connection.getresponse()
    body = reply.read().decode()
    if reply.status != http.HTTPStatus.OK:
        sys.exit(f"{reply.status}: {body}")
    tell("ready", **json.loads(body))
    server.terminate()
    server.wait()


def _connect(server: subprocess.Popen[bytes]) -> socket.socket:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(_PLACE)
        except OSError:
            client.close()
            time.sleep(0.05)
        else:
            return client
    sys.exit("gunicorn did not start")
