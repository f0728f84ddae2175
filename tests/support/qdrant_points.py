"""As much of Qdrant's REST API as thoth-qdrant uses, in memory and on a real socket: several processes share it.

No Qdrant: collections with one vector for each point, cosine, filters that compare a payload field with a value.
Clients 1.15.1 and newer ask it. A request that it was not made for gets 404.
"""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

VERSION = "1.15.1"

_DONE = {"operation_id": 0, "status": "completed"}
_CONFIG = {
    "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
    "optimizer_config": {
        "deleted_threshold": 0.2,
        "vacuum_min_vector_number": 1000,
        "default_segment_number": 0,
        "flush_interval_sec": 5,
    },
}


class RefusedError(Exception):
    """A request that Qdrant would refuse, with its status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class Collection:
    """Points by id, each a vector of length 1 and its payload."""

    size: int
    points: dict[str, tuple[NDArray[np.float64], dict[str, Any]]] = field(default_factory=dict)

    def put(self, points: list[dict[str, Any]]) -> None:
        for point in points:
            vector = self._vector(point["vector"])
            self.points[str(point["id"])] = (vector / (np.linalg.norm(vector) or 1), point["payload"])

    def delete(self, body: Mapping[str, Any]) -> None:
        chosen = body["points"] if "points" in body else [name for name, _ in self._matching(body.get("filter"))]
        for name in chosen:
            self.points.pop(str(name), None)

    def search(self, vector: list[float], body: Mapping[str, Any]) -> list[dict[str, Any]]:
        asked = self._vector(vector)
        asked /= np.linalg.norm(asked) or 1
        found: list[dict[str, Any]] = [
            {"id": name, "version": 0, "score": float(self.points[name][0] @ asked), "payload": payload}
            for name, payload in self._matching(body.get("filter"))
        ]
        least = body.get("score_threshold")
        ranked = sorted((one for one in found if least is None or one["score"] >= least), key=lambda one: -one["score"])
        return ranked[: body.get("limit", 10)]

    def listed(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [{"id": name, "payload": payload} for name, payload in self._matching(body.get("filter"))]

    def _matching(self, condition: Mapping[str, Any] | None) -> list[tuple[str, dict[str, Any]]]:
        wanted = {one["key"]: one["match"]["value"] for one in (condition or {}).get("must") or []}
        kept = [(name, payload) for name, (_, payload) in self.points.items()]
        return [pair for pair in kept if all(pair[1].get(key) == value for key, value in wanted.items())]

    def _vector(self, numbers: list[float]) -> NDArray[np.float64]:
        if len(numbers) != self.size:
            reason = f"Wrong input: Vector dimension error: expected dim: {self.size}, got {len(numbers)}"
            raise RefusedError(400, reason)
        return np.array(numbers)


class QdrantServer(ThreadingHTTPServer):
    """Its collections and aliases by name; ``holding`` is set while a request is kept waiting."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), _Handler)
        self.collections: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}
        self._lock = threading.Lock()
        self._holds: Callable[[str, dict[str, Any]], bool] = lambda _path, _body: False
        self._go = threading.Event()
        self.holding = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many points of each type each collection has."""
        found: dict[str, dict[str, int]] = {}
        with self._lock:
            for name, collection in self.collections.items():
                types = [payload["thoth_type"] for _, payload in collection.points.values()]
                found[name] = {kind: types.count(kind) for kind in sorted(set(types))}
        return found

    def ids(self, name: str, kind: str) -> set[str]:
        """Return the ids of the points of one type."""
        with self._lock:
            points = self.collections[name].points
            return {number for number, (_, payload) in points.items() if payload["thoth_type"] == kind}

    @contextlib.contextmanager
    def held(self, path: str, thoth_type: str = "") -> Iterator[None]:
        """Keep requests to a path waiting until the end, all or those for documents of a type."""
        self.holding.clear()
        self._go.clear()
        self._holds = lambda asked, body: asked.endswith(path) and thoth_type in json.dumps(body.get("filter"))
        try:
            yield
        finally:
            self._holds = lambda _path, _body: False
            self._go.set()

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """Return the result of a request.

        Raises:
            RefusedError: Qdrant would refuse it, or it is not known here.
        """
        if self._holds(path, body):
            self.holding.set()
            self._go.wait(timeout=60)
        with self._lock:
            match [method, *path.strip("/").split("/")]:
                case ["GET", "collections"]:
                    return {"collections": [{"name": name} for name in self.collections]}
                case ["POST", "collections", "aliases"]:
                    for action in body["actions"]:
                        made = action["create_alias"]
                        self.aliases[made["alias_name"]] = made["collection_name"]
                    return True
                case [_, "collections", name, *rest]:
                    return self._of_collection(method, name, rest, body)
        raise RefusedError(404, f"{method} {path}: not known here")

    def _of_collection(  # noqa: C901, PLR0911 - a table of requests
        self, method: str, name: str, rest: list[str], body: dict[str, Any]
    ) -> Any:
        if rest == ["exists"]:
            return {"exists": name in self.collections}
        if (method, rest) == ("PUT", []):
            self.collections[name] = Collection(body["vectors"]["size"])
            return True
        if name not in self.collections:
            raise RefusedError(404, f"Not found: Collection `{name}` doesn't exist!")
        collection = self.collections[name]
        match [method, *rest]:
            case ["GET"]:
                return self._described(collection)
            case ["GET", "aliases"]:
                made = [{"alias_name": alias, "collection_name": to} for alias, to in self.aliases.items()]
                return {"aliases": [one for one in made if one["collection_name"] == name]}
            case ["PUT", "index"]:
                return _DONE
            case ["PUT", "points"]:
                collection.put(body["points"])
                return _DONE
            case ["POST", "points", "delete"]:
                collection.delete(body)
                return _DONE
            case ["POST", "points", "scroll"]:
                return {"points": collection.listed(body), "next_page_offset": None}
            case ["POST", "points", "search"]:
                return collection.search(body["vector"], body)
            case ["POST", "points", "query"]:
                query = body["query"]  # newer clients send the vector as it is
                return {"points": collection.search(query["nearest"] if isinstance(query, dict) else query, body)}
        raise RefusedError(404, f"{method} {'/'.join(rest)}: not known here")

    def _described(self, collection: Collection) -> dict[str, Any]:
        config = {"params": {"vectors": {"size": collection.size, "distance": "Cosine"}}, **_CONFIG}
        return {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "points_count": len(collection.points),
            "config": config,
            "payload_schema": {},
        }


class _Handler(BaseHTTPRequestHandler):
    server: QdrantServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        path = self.path.partition("?")[0]
        if path == "/":
            self._send(200, {"title": "qdrant", "version": VERSION})
            return
        try:
            result = self.server.answer(self.command, path, body)
        except RefusedError as error:
            self._send(error.status, {"status": {"error": str(error)}, "time": 0.0})
        else:
            self._send(200, {"result": result, "status": "ok", "time": 0.0})

    do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - names of the base class

    def _send(self, status: int, answer: object) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        pass


@contextlib.contextmanager
def qdrant_serving(host: str = "127.0.0.1", port: int = 0) -> Iterator[QdrantServer]:
    with QdrantServer(host, port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
