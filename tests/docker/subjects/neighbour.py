"""A neighbour in the network that misbehaves: a Hub, a Xet store, a name server, each broken in its own way.

``python neighbour.py serve`` listens on all ports at once and keeps a record of every connection it accepted and every
question it was asked; ``python neighbour.py record``, in the same container, prints that record as JSON.

Nothing but the standard library, because it runs in the bare base image.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from urllib.request import urlopen

RECORD = 8000
SILENT = 8001  # accepts, and says nothing for ever
BROKEN = 8002  # answers 500 to whatever it is asked
HUB_BROKEN_XET = 8003  # a Hub in good health, whose Xet store answers 500
HUB_SILENT_XET = 8004  # the same, whose Xet store accepts and says nothing
HUB = 8005  # the same, without Xet, so that files come from the Hub itself
DROP = 8006  # takes no notice of a SYN, as behind a firewall that drops
NAMES = 53  # UDP: a name server that never answers

COMMIT = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
CONTENT = hashlib.shake_256(b"weights").digest(100_000)
ETAG = hashlib.sha256(CONTENT).hexdigest()

_record: list[dict[str, object]] = []
_stores = {HUB_BROKEN_XET: BROKEN, HUB_SILENT_XET: SILENT}
_kept: list[socket.socket] = []


class Hub(BaseHTTPRequestHandler):
    """Speaks as much of the Hub's protocol as one file takes."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: socket.socket, peer: tuple[str, int], port: int) -> None:
        self._port = port
        super().__init__(connection, peer, None)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_POST(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Keep quiet: the record says all."""

    def _answer(self, *, with_body: bool) -> None:
        host = self.headers.get("Host") or f"127.0.0.1:{self._port}"
        origin = f"http://{host}"
        store = _stores.get(self._port)
        if "/xet-read-token/" in self.path and store is not None:
            facts = {
                "X-Xet-Cas-Url": f"http://{host.partition(':')[0]}:{store}",
                "X-Xet-Access-Token": "token",
                "X-Xet-Token-Expiration": str(int(time.time()) + 3600),
            }
            body = json.dumps(
                {
                    "casUrl": facts["X-Xet-Cas-Url"],
                    "accessToken": "token",
                    "exp": int(facts["X-Xet-Token-Expiration"]),
                }
            ).encode()
            self._send(200, facts, body, with_body=with_body)
        elif "/resolve/" in self.path and self.path.endswith("/model.safetensors"):
            facts = {"X-Repo-Commit": COMMIT, "ETag": f'"{ETAG}"', "Accept-Ranges": "bytes"}
            if store is not None:
                repository = self.path.partition("/resolve/")[0].lstrip("/")
                facts |= {
                    "X-Linked-Etag": f'"{ETAG}"',
                    "X-Linked-Size": str(len(CONTENT)),
                    "X-Xet-Hash": ETAG,
                    "Link": f'<{origin}/api/models/{repository}/xet-read-token/{COMMIT}>; rel="xet-auth"',
                }
            self._send(200, facts, CONTENT, with_body=with_body)
        else:
            self._send(404, {"X-Error-Code": "EntryNotFound"}, b"{}", with_body=with_body)

    def _send(self, status: int, facts: dict[str, str], body: bytes, *, with_body: bool) -> None:
        self.send_response(status)
        for name, value in facts.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)


class Broken(Hub):
    """Answers 500 to everything."""

    def _answer(self, *, with_body: bool) -> None:
        self._send(500, {"Content-Type": "text/plain"}, b"broken", with_body=with_body)


class Record(Hub):
    """Answers with the record."""

    def _answer(self, *, with_body: bool) -> None:
        self._send(200, {"Content-Type": "application/json"}, json.dumps(_record).encode(), with_body=with_body)


def _note(port: int, peer: str) -> None:
    _record.append({"at": time.time(), "port": port, "peer": peer})


def _listen(port: int, backlog: int = 128) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", port))
    listener.listen(backlog)
    _kept.append(listener)
    return listener


def _serve(port: int, handler: type[Hub] | None) -> None:
    listener = _listen(port)
    while True:
        connection, peer = listener.accept()
        if port != RECORD:
            _note(port, peer[0])
        if handler is None:
            _kept.append(connection)
        else:
            threading.Thread(target=_talk, args=(handler, connection, peer, port), daemon=True).start()


def _talk(handler: type[Hub], connection: socket.socket, peer: tuple[str, int], port: int) -> None:
    with connection, contextlib.suppress(ConnectionError):
        handler(connection, peer, port)


def _drop(port: int) -> None:
    """Fill the queue of a listener that accepts nothing: Linux drops every further SYN for it."""
    _listen(port, backlog=0)
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)  # noqa: FBT003 - its only argument
        filler.connect_ex(("127.0.0.1", port))
        _kept.append(filler)


def _ignore_questions() -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", NAMES))
    while True:
        _, peer = server.recvfrom(512)
        _note(NAMES, peer[0])


def serve() -> None:
    _drop(DROP)
    threading.Thread(target=_ignore_questions, daemon=True).start()
    hubs = dict.fromkeys((HUB_BROKEN_XET, HUB_SILENT_XET, HUB), Hub)
    for port, handler in {SILENT: None, BROKEN: Broken, **hubs}.items():
        threading.Thread(target=_serve, args=(port, handler), daemon=True).start()
    _serve(RECORD, Record)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    elif sys.argv[1:] == ["record"]:
        with urlopen(f"http://127.0.0.1:{RECORD}/", timeout=5) as reply:
            sys.stdout.write(reply.read().decode())
    else:
        sys.exit(f"usage: {os.path.basename(sys.argv[0])} serve | record")  # noqa: PTH119
