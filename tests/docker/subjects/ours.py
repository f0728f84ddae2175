"""Our runtime, in the places where the unprotected libraries hang: ``python -m tests.docker.subjects.ours NAME …``.

Each function tells ``ready`` with the vectors that it came to, and with what this container tried to reach.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import multiprocessing
import os
import resource
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from tests.docker.subjects.controls import FILE, REPOSITORY, hold_locks
from tests.docker.subjects.events import HOME_SECONDS, attempts, long_texts, settle_in, tell, texts
from tests.docker.subjects.serving import serve_and_ask
from thoth_models import load_embedding

if TYPE_CHECKING:
    from collections.abc import Callable

    from thoth_models import Embedding

THREADS = 8


def embed(variant: str) -> None:
    """Load and encode."""
    embedding = load_embedding("mini", variants=[variant])
    _ready(embedding.encode(texts()), space=embedding.info.space)


def relative_path(variant: str) -> None:
    """Load from where the relative path of the model, ``mini/source``, could be a name on the Hub as well.

    From a directory above, it would have one part more than any name has, and nobody would ask for it.
    """
    os.chdir("/models")
    _ready(load_embedding("mini", root=".", variants=[variant]).encode(texts()))


def question(variant: str) -> None:
    """Load; then ask for facts about a model, without a timeout, as a library may at any time."""
    vectors = load_embedding("mini", variants=[variant]).encode(texts())
    hub = importlib.import_module("huggingface_hub")
    _ready(vectors, **_refusal(lambda: hub.HfApi().model_info(REPOSITORY, timeout=None)))


def late_switch(variant: str) -> None:
    """Load when the Hub's library is imported already and considers itself online; then ask it for a file."""
    constants = importlib.import_module("huggingface_hub.constants")
    hub = importlib.import_module("huggingface_hub")
    online_before = not constants.HF_HUB_OFFLINE
    vectors = load_embedding("mini", variants=[variant]).encode(texts())
    _ready(vectors, online_before=online_before, **_refusal(lambda: hub.hf_hub_download(REPOSITORY, FILE)))


def _refusal(ask: Callable[[], object]) -> dict[str, object]:
    """Return the name of the error that a question to the Hub ends with, and after how many seconds."""
    started = time.monotonic()
    try:
        ask()
    except Exception as error:  # noqa: BLE001 - the test says which it has to be
        refused = type(error).__name__
    else:
        refused = ""
    return {"refused": refused, "refused_seconds": time.monotonic() - started}


def held_lock(variant: str) -> None:
    """Load where another process holds the locks of the Hub's cache."""
    hold_locks()
    embed(variant)


def fork(variant: str, children: str = "3") -> None:
    """Use a model on several threads, fork while they do, use it in each child; then in the parent again."""
    embedding = _load(variant)
    stop = threading.Event()
    busy = [threading.Thread(target=_encode_until, args=(embedding, stop), daemon=True) for _ in range(2)]
    for thread in busy:
        thread.start()
    slowest, found = 0.0, []
    for _ in range(int(children)):
        started = time.monotonic()
        found.append(_encode_in_a_child(embedding))
        slowest = max(slowest, time.monotonic() - started)
    stop.set()
    for thread in busy:
        thread.join()
    worst = max(float(abs(vectors - found[0]).max()) for vectors in found)
    _ready(found[0], slowest=slowest, worst=worst, again=embedding.encode(texts()).tolist())


def _encode_until(embedding: Embedding, stop: threading.Event) -> None:
    while not stop.is_set():
        embedding.encode(texts())


def _encode_in_a_child(embedding: Embedding) -> Any:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=lambda: sender.send(embedding.encode(texts())))
    child.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        sys.exit("a child ended without an answer")
    finally:
        child.join()


def many(variant: str) -> None:
    """Encode a lot, and say what lies in shared memory afterwards, and what memory other processes took for it."""
    embedding = _load(variant)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    vectors = embedding.encode(texts() * 50)
    _ready(
        vectors[: len(texts())],
        shared=os.listdir("/dev/shm"),  # noqa: PTH208, S108 - of a container
        pages_of_children=resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before,
    )


def huge_batch(variant: str) -> None:
    """Encode everything at once: as many long texts as kill the unprotected library."""
    embedding = _load(variant)
    longer = long_texts()
    started = time.monotonic()
    vectors = embedding.encode(longer, batch_size=len(longer))
    _ready(
        embedding.encode(texts()),
        count=len(vectors),
        seconds=time.monotonic() - started,
        peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def call_home(variant: str) -> None:
    """Load and encode, and wait for what a library sends without being asked."""
    embedding = _load(variant)
    time.sleep(HOME_SECONDS)
    _ready(embedding.encode(texts()))


def threads(variant: str) -> None:
    """Share an embedding between threads, which encode texts of mixed lengths; count what comes out different."""
    embedding = _load(variant)
    alone = embedding.encode(texts())
    groups = [(list(range(number % len(texts()), len(texts()))), number) for number in range(THREADS)]

    def work(rows: list[int], number: int) -> float:
        worst, deadline = 0.0, time.monotonic() + 3
        while time.monotonic() < deadline:
            found = embedding.encode([texts()[row] for row in rows], batch_size=1 + number)
            worst = max(worst, float(abs(found - alone[rows]).max()))
        return worst

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        worst = max(future.result() for future in [pool.submit(work, *group) for group in groups])
    _ready(alone, worst=worst)


def half_precision(variant: str) -> None:
    """Load a checkpoint that is stored in half precision."""
    _ready(load_embedding("half", root="/half", variants=[variant]).encode(texts()))


def gunicorn_preload(variant: str) -> None:
    """Serve with gunicorn, which loads the model before it forks its workers, and ask for vectors."""
    os.environ["SUBJECT_VARIANT"] = variant
    serve_and_ask("served_ours")


def _load(variant: str) -> Embedding:
    embedding = load_embedding("mini", variants=[variant])
    embedding.encode(texts())
    tell("vectors")
    return embedding


def _ready(vectors: Any, **facts: object) -> None:
    tell("ready", vectors=vectors.tolist(), attempts=attempts(), **facts)


if __name__ == "__main__":
    settle_in()
    globals()[sys.argv[1]](*sys.argv[2:])
