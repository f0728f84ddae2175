"""A service that answers with vectors, on our runtime: its model is loaded and used when this is imported."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from tests.docker.subjects.events import attempts, texts
from thoth_models import load_embedding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

embedding = load_embedding("mini", variants=[os.environ["SUBJECT_VARIANT"]])
embedding.encode(texts())
loaded_in = os.getpid()


def app(environment: object, start: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """Answer as a WSGI application with the vectors of the texts."""
    facts = {"vectors": embedding.encode(texts()).tolist(), "attempts": attempts(), "forked": os.getpid() != loaded_in}
    start("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(facts).encode()]
