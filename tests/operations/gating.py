"""A server that answers as a test says, and the gates' command line in a process of its own."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
import threading
from contextlib import contextmanager, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

OPERATIONS = Path(__file__).parents[2] / "operations"
SECONDS = 30.0
"""Bound on each wait of these tests, far above what they take."""

RIGHT = (200, b'{"answer": 42}')


class Recording:
    """Answers rightly, and keeps what it was sent; ``word`` takes the place of the bodies where one is given."""

    def __init__(self, kept: list[str], word: str = "") -> None:
        self._kept, self._word = kept, word

    def __call__(self, number: int, body: bytes) -> tuple[int, bytes]:
        self._kept.append(self._word or body.decode())
        return RIGHT


@contextmanager
def serving(respond: Callable[[int, bytes], tuple[int, bytes] | None]) -> Iterator[str]:
    """Serve ``respond(number of the request, its body)``: a status and a body, or None for no answer at all."""
    numbers = itertools.count()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = respond(next(numbers), body)
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(answer[1])))
            self.end_headers()
            self.wfile.write(answer[1])

        do_GET = do_POST = answer  # noqa: N815 - names of http.server

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            """A client that went away is no failure of the test."""

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def gate_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a gate as people do."""
    return subprocess.run(
        [sys.executable, "-m", "gates", *arguments],
        cwd=OPERATIONS,
        capture_output=True,
        text=True,
        timeout=SECONDS * 2,
        check=False,
    )


def figures(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a gate in this process, and return its exit code and what ``--json`` prints."""
    from gates.__main__ import main

    with redirect_stdout(io.StringIO()) as out:
        code = main([arguments[0], "--json", *arguments[1:]])
    found: dict[str, Any] = json.loads(out.getvalue())
    assert found["exit_code"] == code
    return code, found


def shell(command: str, place: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of a page as a shell does, in a directory."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
