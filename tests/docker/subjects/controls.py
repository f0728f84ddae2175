"""The unprotected libraries, where ours is put as well: ``python -m tests.docker.subjects.controls NAME``.

Each function is what a service does that knows nothing of this project. It tells ``go`` when the libraries are imported
and the part that hangs begins, and ``ready`` where it comes to an end; an error ends the process.
"""

from __future__ import annotations

import concurrent.futures
import fcntl
import hashlib
import multiprocessing
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.docker.subjects import neighbour
from tests.docker.subjects.events import HOME_SECONDS, attempts, long_texts, settle_in, tell, texts
from tests.docker.subjects.serving import serve_and_ask

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = "/models/mini/source"
REPOSITORY, FILE = "org/model", "model.safetensors"

_kept: list[Any] = []


# --- the Hub and its store ---


def hub_file() -> None:
    """Fetch one file."""
    from huggingface_hub import hf_hub_download

    tell("go")
    hf_hub_download(REPOSITORY, FILE)
    tell("ready")


def hub_model() -> None:
    """Load a model by its name, as every tutorial does."""
    from sentence_transformers import SentenceTransformer

    tell("go")
    SentenceTransformer("sentence-transformers/all-MiniLM-L6-v2")
    tell("ready")


def hub_question() -> None:
    """Ask for facts about a model, without a timeout, as libraries do."""
    from huggingface_hub import HfApi

    tell("go")
    HfApi().model_info(REPOSITORY, timeout=None)
    tell("ready")


def relative_path() -> None:
    """Load a local model by a path that could be a name on the Hub as well."""
    from sentence_transformers import SentenceTransformer

    os.chdir("/tmp")  # noqa: S108 - of a container
    Path("models").mkdir()
    Path("models/mini").symlink_to(SOURCE)
    tell("go")
    SentenceTransformer("models/mini").encode(texts())
    tell("ready")


def late_switch() -> None:
    """Switch to offline when the library that is asked is imported already."""
    from huggingface_hub import hf_hub_download

    os.environ["HF_HUB_OFFLINE"] = "1"
    tell("go")
    hf_hub_download(REPOSITORY, FILE)
    tell("ready")


# --- the cache ---


def held_lock() -> None:
    """Fetch a file whose lock in the cache another process holds, and will not let go."""
    hold_locks()
    hub_file()


def hold_locks() -> None:
    """Take the locks that a download of the neighbour's file takes, in another process that keeps them."""
    place = Path(os.environ["HF_HOME"], "hub/.locks", f"models--{REPOSITORY.replace('/', '--')}")
    place.mkdir(parents=True)
    reader, writer = os.pipe()
    if os.fork() == 0:
        for name in (neighbour.ETAG, hashlib.sha256(neighbour.ETAG.encode()).hexdigest()):
            lock = (place / f"{name}.lock").open("w")
            fcntl.flock(lock, fcntl.LOCK_EX)
            _kept.append(lock)
        os.write(writer, b"x")
        time.sleep(600)
    os.read(reader, 1)


# --- fork ---


def fork_torch() -> None:
    """Use a model, fork, use it in the child."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(2)
    model = SentenceTransformer(SOURCE)
    model.encode(texts())
    _in_a_child(lambda: model.encode(texts()))


def fork_tokenizers() -> None:
    """Tokenise in parallel, fork, tokenise in the child."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{SOURCE}/tokenizer.json")
    tokenizer.encode_batch(texts() * 50)
    _in_a_child(lambda: tokenizer.encode_batch(texts() * 50))


def fork_onnx() -> None:
    """Fork while other threads run a graph, as a service does that answers meanwhile; run it in the child."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession("/models/mini/onnx-fp32/model.onnx", options)
    inputs = {item.name: np.ones((1, 4), dtype=np.int64) for item in session.get_inputs()}

    def run_for_ever() -> None:
        while True:
            session.run(None, inputs)

    for _ in range(2):
        threading.Thread(target=run_for_ever, daemon=True).start()
    time.sleep(0.5)
    # Which of the session's locks is held at the fork is chance: about one child in fifty never comes back.
    _in_a_child(lambda: session.run(None, inputs), times=600)


def _in_a_child(work: Callable[[], object], *, times: int = 1) -> None:
    for _ in range(times):
        tell("go")
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join()
        if child.exitcode:
            sys.exit(f"the child ended with {child.exitcode}")
    tell("ready")


# --- limits ---


def shared_memory() -> None:
    """Encode with a pool of processes, which share the weights in /dev/shm."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(SOURCE)
    tell("go")
    pool = model.start_multi_process_pool(["cpu", "cpu"])
    model.encode(texts() * 50, pool=pool)
    tell("ready")


def huge_batch() -> None:
    """Encode everything at once."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(SOURCE)
    many = long_texts()
    tell("go")
    model.encode(many, batch_size=len(many))
    tell("ready", peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def threads() -> None:
    """Share a tokenizer between threads, which set it up before each use as libraries do."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{SOURCE}/tokenizer.json")

    def work(number: int) -> None:
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            tokenizer.enable_truncation(max_length=16 + number)
            tokenizer.enable_padding(length=16 + number)
            tokenizer.encode_batch(texts() * 4)

    tell("go")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, number) for number in range(8)]:
            future.result()
    tell("ready")


def half_precision() -> None:
    """Load a checkpoint that is stored in half precision; and how much slower a larger one is in half precision."""
    import torch
    from sentence_transformers import SentenceTransformer

    tell("go")
    model = SentenceTransformer("/half/half/source")
    dtypes = sorted({str(parameter.dtype) for parameter in model.parameters()})
    vectors = model.encode(texts(), normalize_embeddings=True).tolist()
    seconds = []
    for dtype in (torch.float32, torch.bfloat16):
        larger = SentenceTransformer(SOURCE, model_kwargs={"dtype": dtype})
        larger.encode(texts())
        started = time.perf_counter()
        larger.encode(texts() * 20)
        seconds.append(time.perf_counter() - started)
    tell("ready", vectors=vectors, dtypes=dtypes, slower=seconds[1] / seconds[0])


# --- calls home ---


def call_home() -> None:
    """Load a graph, and wait for what the engine sends without being asked."""
    import onnxruntime

    session = onnxruntime.InferenceSession("/models/mini/onnx-fp32/model.onnx")
    tell("go")
    time.sleep(HOME_SECONDS)
    tell("ready", attempts=attempts(), inputs=[item.name for item in session.get_inputs()])


# --- a server ---


def gunicorn_preload() -> None:
    """Serve with gunicorn, which loads the model before it forks its workers, and ask for a vector."""
    serve_and_ask("served_plain")


if __name__ == "__main__":
    settle_in()
    globals()[sys.argv[1]]()
