"""Children of ``multiprocessing`` while threads of their parent encode; run in an interpreter of its own.

``python -m tests.servers.forking METHOD SUBJECT VECTORS.npz`` prints what became of them, as JSON. SUBJECT is what
encodes: ``ours`` is the file of docs/processes.md, ``sentence-transformers`` is that library alone.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

BUSY = 3
"""Threads of the parent that encode when a child begins."""

_alone: dict[str, Any] = {}


def _page() -> Any:
    """Return the file of the page, which lies in the working directory."""
    return importlib.import_module("pools")


def ours(texts: list[str]) -> Any:
    return _page().embed(texts)


def sentence_transformers(texts: list[str]) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer

    if not _alone:
        torch.set_num_threads(2)
        source = str(Path(os.environ["THOTH_MODELS_DIR"], "mini", "source"))
        _alone["model"] = SentenceTransformer(source, device="cpu", local_files_only=True)
    return _alone["model"].encode(texts)


SUBJECTS: dict[str, Callable[[list[str]], Any]] = {
    "ours": ours,
    "sentence-transformers": sentence_transformers,
}


def distance(subject: str, texts: list[str], expected: Any) -> float:
    return float(np.abs(SUBJECTS[subject](texts) - expected).max())


def child(subject: str, texts: list[str], expected: Any, results: Any) -> None:
    results.send((os.getpid(), distance(subject, texts, expected)))


def one(context: Any, subject: str, texts: list[str], expected: Any, seconds: float) -> dict[str, Any]:
    """Return what became of one process: how far its vectors are from the expected ones, and how it ended."""
    receiver, sender = context.Pipe(duplex=False)
    started = time.monotonic()
    process = context.Process(target=child, args=(subject, texts, expected, sender))
    process.start()
    sender.close()
    found = None
    try:
        if receiver.poll(seconds):
            found = receiver.recv()[1]
    except EOFError:
        pass
    process.join(max(0.0, started + seconds - time.monotonic()))
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
    return {"distance": found, "code": code, "seconds": time.monotonic() - started}


def main(method: str, subject: str, path: str, count: int, seconds: float) -> None:
    with np.load(path) as stored:
        texts, expected = stored["texts"].tolist(), stored["vectors"]
    before = distance(subject, texts, expected)
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            SUBJECTS[subject](texts)

    threads = [threading.Thread(target=busy, daemon=True) for _ in range(BUSY)]
    for thread in threads:
        thread.start()
    context = multiprocessing.get_context(method)
    children: list[dict[str, Any]] = []
    pooled: list[float] = []
    for number in range(count):
        time.sleep(0.007 * (number % 5))  # at another moment of what the threads do
        children.append(one(context, subject, texts, expected, seconds))
        if children[-1]["code"] is None:
            break
    else:
        if subject == "ours":
            batches = [texts[:20], texts[20:40], texts[40:]]
            found = np.concatenate(_page().embed_all(batches, method))
            pooled.append(float(np.abs(found - expected).max()))
    stop.set()
    print(json.dumps({"before": before, "children": children, "pool": pooled}))  # noqa: T201 - this is its result
    sys.stdout.flush()
    # Whatever the library alone would do at its end is not the question.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
