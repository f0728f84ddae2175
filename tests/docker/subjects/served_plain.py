"""A service that answers with vectors, on the plain library: its model is loaded and used when this is imported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from sentence_transformers import SentenceTransformer

from tests.docker.subjects.events import texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

torch.set_num_threads(2)
model = SentenceTransformer("/models/mini/source")
model.encode(texts())


def app(environment: object, start: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """Answer as a WSGI application with the vectors of the texts."""
    vectors = model.encode(texts()).tolist()
    start("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"vectors": vectors}).encode()]
