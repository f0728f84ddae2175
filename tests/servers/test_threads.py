"""Plain threads of one process: a pool of them, and one that nobody waits for."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.servers import documented
from tests.servers.serving import TOLERANCE, Service

if TYPE_CHECKING:
    from tests.servers.driving import Trial

pytestmark = [pytest.mark.servers, pytest.mark.onnx]

REQUESTS = 1000
_POOL = """
import json, os, sys, threading
import numpy as np
import indexing
from thoth_models import EmbeddingManager

with np.load("vectors.npz") as stored:
    texts, expected = stored["texts"].tolist(), stored["vectors"]
rows = [[number % len(texts)] for number in range(int(sys.argv[1]))]
found = indexing.embed_all([texts[row] for row in [number]] for [number] in rows)
distance = max(float(np.abs(vectors - expected[row]).max()) for vectors, row in zip(found, rows, strict=True))

plain = []
threads = [threading.Thread(target=lambda: plain.append(indexing.embed_all([texts])[0])) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
distances = [float(np.abs(vectors - expected).max()) for vectors in plain]
loads = EmbeddingManager.get_instance().stats().models["mini"].loads
print(json.dumps({"count": len(found), "distances": [distance, *distances], "loads": loads}))
"""
_LEFT = """
import threading, time
import indexing

def index():
    ends = time.monotonic() + 1
    while time.monotonic() < ends:
        indexing.EmbeddingManager.get_instance().encode(["a text"] * 50, "mini")

for _ in range(3):
    threading.Thread(target=index).start()
print("the end of the main thread")
"""


def test_a_pool_of_threads(trial: Trial) -> None:
    documented.write(trial.surroundings.place, "indexing.py")
    np.savez(
        trial.surroundings.place / "vectors.npz",
        texts=np.array(trial.golden.texts[:60]),
        vectors=trial.golden.vectors[:60],
    )
    started = time.monotonic()
    with Service(["-c", _POOL, str(REQUESTS)], trial.surroundings) as service:
        assert service.process.wait(120) == 0, service.log()
    found = json.loads(service.log().splitlines()[-1])
    assert found["count"] == REQUESTS
    assert len(found["distances"]) == 5
    assert max(found["distances"]) < TOLERANCE
    assert found["loads"] == 1  # however many threads ask at once
    assert trial.surroundings.connections()[1] == []
    trial.ledger.add(f"threads: {REQUESTS} single texts from 4 threads in {time.monotonic() - started:.1f} s, one load")


def test_the_end_of_a_process_that_leaves_threads_behind(trial: Trial) -> None:
    """The interpreter waits for them, and lets go of the model well."""
    documented.write(trial.surroundings.place, "indexing.py")
    for _ in range(3):
        with Service(["-c", _LEFT], trial.surroundings) as service:
            assert service.process.wait(30) == 0, service.log()
        assert service.log() == "the end of the main thread\n"
