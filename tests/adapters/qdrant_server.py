"""The part of Qdrant's REST API that makes, describes and drops collections, on a real socket.

No Qdrant: it shows what the client sends, and what a server answers that keeps metadata, or one from before it did.
"""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Collections(ThreadingHTTPServer):
    """Its collections by name, and the requests that came, each as method, path and body."""

    def __init__(self, *, keeps_metadata: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.keeps_metadata = keeps_metadata
        self.collections: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def describe(self, name: str) -> dict[str, Any]:
        made = self.collections[name]
        config: dict[str, Any] = {
            "params": {"vectors": made["vectors"]},
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
            "optimizer_config": {
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1000,
                "default_segment_number": 0,
                "flush_interval_sec": 5,
            },
        }
        if self.keeps_metadata and "metadata" in made:
            config["metadata"] = made["metadata"]
        return {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "config": config,
            "payload_schema": {},
        }


class _Handler(BaseHTTPRequestHandler):
    server: Collections

    def _answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        path = self.path.partition("?")[0]
        self.server.requests.append((self.command, path, body))
        name, _, rest = path.removeprefix("/collections/").partition("/")
        kept = self.server.collections
        if rest == "exists":
            self._send({"exists": name in kept})
        elif rest == "points":
            self._send({"operation_id": 0, "status": "completed"})
        elif self.command == "PUT":
            kept[name] = body
            self._send(result=True)
        elif name not in kept:
            self._send(None, status=404)
        elif self.command == "PATCH":
            kept[name]["metadata"] = {**kept[name].get("metadata", {}), **body.get("metadata", {})}
            self._send(result=True)
        elif self.command == "DELETE":
            self._send(kept.pop(name, None) is not None)
        else:
            self._send(self.server.describe(name))

    do_GET = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - names of the base class

    def _send(self, result: object, *, status: int = 200) -> None:
        data = json.dumps({"result": result, "status": "ok", "time": 0.0}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        pass


@contextlib.contextmanager
def serving(*, keeps_metadata: bool) -> Iterator[Collections]:
    with Collections(keeps_metadata=keeps_metadata) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
