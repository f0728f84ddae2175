"""A running example service, and models for it that do what a test says."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import httpx2
import numpy as np

from example_service.app import create_app
from example_service.draining import Draining, make_server
from example_service.settings import Settings
from tests.support.bundles import invented_model, make_bundle
from thoth_models import EmbeddingManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models.types import Backend, FloatArray
    from thoth_models.verification.verify import VerifiedVariant

DIMENSION = 1024
SECONDS = 20.0
"""Bound on each wait of these tests, far above what they take."""


@dataclass
class Words:
    """A backend whose vectors count words, so that texts with words in common are similar.

    Attributes:
        gate: Closed, it keeps every call waiting.
        delay: Seconds that a call takes.
        error: What a call raises.
        calls: The texts of each call.
        most_at_once: Most calls that ran at the same time.
    """

    gate: threading.Event = field(default_factory=threading.Event)
    delay: float = 0.0
    error: Exception | None = None
    calls: list[list[str]] = field(default_factory=list)
    most_at_once: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.gate.set()

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self.calls.append(texts)
        try:
            assert self.gate.wait(SECONDS)
            time.sleep(self.delay)
            if self.error is not None:
                raise self.error
            vectors = np.zeros((len(texts), DIMENSION), dtype=np.float32)
            for row, text in enumerate(texts):
                for word in re.findall(r"\w+", text.lower()):
                    vectors[row, zlib.crc32(word.encode()) % DIMENSION] += 1
            return vectors
        finally:
            with self._lock:
                self._at_once -= 1

    def load(self, _verified: VerifiedVariant) -> Backend:
        """Return the model at once."""
        return self


def make_models(root: Path) -> None:
    """Make the bundle of the service: a model, and one that another stands in for."""
    words = invented_model("words", dimension=DIMENSION, aliases=("w",))
    gone = invented_model("gone", dimension=DIMENSION, variants=(), alternates=(("words", "accept"),))
    make_bundle(root, [words, gone], default="words")


class Service:
    """The service on a port of this computer, in a thread of its own."""

    def __init__(self, root: Path, **options: Any) -> None:
        settings, draining = Settings(**options), Draining()
        self.manager = EmbeddingManager(replace(settings.manager_config(), root=root))
        app = create_app(settings, self.manager, draining)
        self.server = make_server(app, settings, draining, host="127.0.0.1", port=0)
        self.thread = threading.Thread(target=asyncio.run, args=(self.server.serve(),))

    def __enter__(self) -> Self:
        self.thread.start()
        deadline = time.monotonic() + SECONDS
        while not self.server.started:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.005)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.server.should_exit = True
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()

    def until_ready(self) -> dict[str, Any]:
        """Return what ``/ready`` says once it no longer says that the model is being loaded."""
        deadline = time.monotonic() + SECONDS
        while True:
            answer: dict[str, Any] = self.client.get("/ready").json()
            if answer["state"] != "loading":
                return answer
            assert time.monotonic() < deadline, answer
            time.sleep(0.005)

    def ask(self, question: str, **more: Any) -> list[dict[str, Any]]:
        """Return the phases of an answer."""
        answer = self.client.post("/generate-sql", json=body(question, **more))
        assert answer.status_code == 200, answer.text
        return [_parse(line) for line in answer.text.splitlines()]


def body(question: str, **more: Any) -> dict[str, Any]:
    """Return what sql_generator's callers send."""
    return {"question": question, "workspace_id": 1, "functionality_level": "BASIC", "flags": {}, **more}


def lines(answer: httpx2.Response) -> Iterator[dict[str, Any]]:
    """Yield each phase of a streamed answer as it arrives."""
    yield from map(_parse, answer.iter_lines())


def _parse(line: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(line)
    return parsed
