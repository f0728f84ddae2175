"""A hosted provider on this computer: OpenAI's protocol, and vectors of a model of the bundle, padded to 1536 numbers.

Zeros change neither dot products nor cosines: what a store finds with these vectors, it finds with the model's own.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thoth_models import Embedding

MODEL = "text-embedding-3-small"
DIMENSION = 1536


class HostedProvider(ThreadingHTTPServer):
    """Answers while ``answers`` is set, and keeps requests waiting while it is not; ``texts`` counts what came."""

    daemon_threads = True

    def __init__(self, embedding: Embedding) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.embedding = embedding
        self.texts = 0
        self._left = 0
        self.waiting = threading.Event()
        self.answers = threading.Event()
        self.answers.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def wait_for_turn(self) -> None:
        """Return at once while requests are answered, otherwise when they are again."""
        if not self.answers.is_set():
            self._left -= 1
            if self._left < 0:
                self.waiting.set()
                self.answers.wait(timeout=60)

    @contextlib.contextmanager
    def silent(self, after: int = 0) -> Iterator[None]:
        """Accept requests, and answer none of them until the end, but for the first ``after``."""
        self._left = after
        self.waiting.clear()
        self.answers.clear()
        try:
            yield
        finally:
            self.answers.set()


class _Handler(BaseHTTPRequestHandler):
    server: HostedProvider
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        self.server.texts += len(texts)
        self.server.wait_for_turn()
        padded = np.zeros((len(texts), DIMENSION), dtype="<f4")
        vectors = self.server.embedding.encode(texts)
        padded[:, : vectors.shape[1]] = vectors
        is_text = body.get("encoding_format") == "base64"
        rows = [base64.b64encode(row.tobytes()).decode() if is_text else row.tolist() for row in padded]
        data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        answer = json.dumps({"object": "list", "model": body["model"], "data": data, "usage": usage}).encode()
        with contextlib.suppress(ConnectionError):  # a service that was ended meanwhile
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        pass


@contextlib.contextmanager
def provider_serving(embedding: Embedding) -> Iterator[HostedProvider]:
    with HostedProvider(embedding) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()
