"""What Docker engines save, made by hand: the old shape and the newer one, and an engine that answers from a script."""

from __future__ import annotations

import io
import json
import socketserver
import tarfile
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Self

from tests.support.hand_layouts import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


def configuration(layers: Sequence[bytes], **values: Any) -> bytes:
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/hello"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer)}" for layer in layers]},
        "history": [{"created_by": "by hand"} for _ in layers],
        **values,
    }
    return json.dumps(document).encode()


def archive(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            made.addfile(entry)
    return buffer.getvalue()


def classic(name: str, layers: Sequence[bytes], config: bytes | None = None) -> bytes:
    """An archive as engines before 25 save it: a directory for each layer, and a link where one comes twice."""
    config = configuration(layers) if config is None else config
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    first: dict[bytes, int] = {}
    for number, layer in enumerate(layers):
        files[f"{number:064x}/VERSION"] = b"1.0"
        files[f"{number:064x}/json"] = b"{}"
        if layer in first:
            links[f"{number:064x}/layer.tar"] = f"../{first[layer]:064x}/layer.tar"
        else:
            first[layer] = number
            files[f"{number:064x}/layer.tar"] = layer
    paths = [f"{number:064x}/layer.tar" for number in range(len(layers))]
    files[f"{sha256(config)}.json"] = config
    files["manifest.json"] = json.dumps(
        [{"Config": f"{sha256(config)}.json", "RepoTags": [name], "Layers": paths}]
    ).encode()
    return archive(files, links)


def newer(name: str, layers: Sequence[bytes], stored: Sequence[bytes] | None = None) -> bytes:
    """An archive as engines from 25 on save it: an image layout with a ``manifest.json`` beside it."""
    config = configuration(layers)
    stored = layers if stored is None else stored
    files = {f"blobs/sha256/{sha256(data)}": data for data in (*stored, config)}
    manifest = json.dumps({"schemaVersion": 2, "config": {}, "layers": []}).encode()
    files[f"blobs/sha256/{sha256(manifest)}"] = manifest
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    files["index.json"] = b'{"schemaVersion": 2, "manifests": []}'
    files["manifest.json"] = json.dumps(
        [
            {
                "Config": f"blobs/sha256/{sha256(config)}",
                "RepoTags": [name],
                "Layers": [f"blobs/sha256/{sha256(data)}" for data in stored],
            }
        ]
    ).encode()
    return archive(files)


class FakeEngine:
    """An engine on a socket of its own that answers ``/version`` like one, and the rest as the test says.

    Attributes:
        answers: Path without the API's version to what answers it.
        seen: Every path that was asked.
        received: Length of the body of the last POST, as far as it was read.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {"/version": reply(VERSION)}
        self.seen: list[str] = []
        self.ended = threading.Event()

    def __enter__(self) -> Self:
        engine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                engine.seen.append(self.path)
                path = self.path.partition("?")[0]
                if path.startswith("/v1."):
                    path = path[path.index("/", 1) :]
                engine.answers.get(path, reply({"message": f"no such image: {path}"}, 404))(self)

            do_POST = do_GET  # noqa: N815 - a name of the library

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Say nothing of clients that go away."""

            def get_request(self) -> tuple[Any, Any]:
                # The handler wants an address with a host.
                return super().get_request()[0], ("engine", 0)

        self._server = Server(str(self._socket), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def silent(self, _: BaseHTTPRequestHandler) -> None:
        self.ended.wait(60)


VERSION = {"Version": "27.0.1", "ApiVersion": "1.46", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64"}


def reply(document: object, status: int = 200) -> Callable[[BaseHTTPRequestHandler], None]:
    return send(json.dumps(document).encode() + b"\n", status)


def send(data: bytes, status: int = 200, length: int | None = None) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return what answers with bytes; a ``length`` beyond them makes it a cut answer."""

    def do(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data) if length is None else length))
        handler.end_headers()
        handler.wfile.write(data)
        handler.close_connection = length is not None

    return do


def swallow(
    then: Callable[[BaseHTTPRequestHandler], None], into: list[bytes]
) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return what reads a chunked body to its end before it answers."""

    def do(handler: BaseHTTPRequestHandler) -> None:
        while size := int(handler.rfile.readline(), 16):
            into.append(handler.rfile.read(size))
            handler.rfile.readline()
        handler.rfile.readline()
        then(handler)

    return do
