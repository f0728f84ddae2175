"""Managers and embeddings that are sent to the processes of pools, whatever starts those."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import invented_model, make_bundle, make_writable
from tests.support.forks import BOUND, run_forks

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]

METHODS = ("fork", "spawn", "forkserver")


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "bundle"
    make_bundle(place, [invented_model("mini")], default="mini")
    yield place
    make_writable(place)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Path]:
    """A bundle with the same model, and one more."""
    place = tmp_path / "other"
    make_bundle(place, [invented_model("mini"), invented_model("more")], default="mini")
    yield place
    make_writable(place)


SENDER = """
import json, multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
from thoth_models import EmbeddingManager, VerificationError, backends, load_embedding

class Lengths:
    def encode(self, texts, *, prompt, batch_size, show_progress_bar):
        return np.array([[len(text)] + 7 * [1] for text in texts], np.float32)

loads = []

def load(verified):
    loads.append(os.getpid())
    return Lengths()

# In a worker as well: spawn and forkserver import this file again.
backends.BACKENDS.update(dict.fromkeys(backends.BACKENDS, lambda: load))

def encode(embedding, manager, text):
    vectors = [embedding.encode(text), manager.encode(text)]
    if os.environ.get("THREADS"):
        with ThreadPoolExecutor(4) as pool:
            vectors += pool.map(embedding.encode, 4 * [text])
    return os.getpid(), loads.count(os.getpid()), [vector.tolist() for vector in vectors]

def other_bundle(root):
    os.environ["THOTH_MODELS_DIR"] = root

def dimension(embedding):
    return embedding.dimension
"""

POOLS = (
    SENDER
    + """
if __name__ == "__main__":
    method = multiprocessing.get_context(sys.argv[1])
    embedding, manager = load_embedding("mini"), EmbeddingManager.get_instance()
    expected = {text: embedding.encode(text).tolist() for text in 20 * ["a", "bb"]}
    assert manager.encode("a").tolist() == expected["a"]  # the parent has both loaded
    processes = set()
    with ProcessPoolExecutor(2, mp_context=method) as executor, method.Pool(1) as pool:
        tasks = [(embedding, manager, text) for text in 20 * list(expected)]
        answers = list(executor.map(encode, *zip(*tasks), timeout=60)) + pool.starmap_async(encode, tasks).get(60)
        for (_, _, text), (process, count, vectors) in zip(tasks + tasks, answers):
            assert count == 1, count  # both of them, and every task, share it
            assert all(vector == expected[text] for vector in vectors), vectors
            processes.add(process)
    assert os.getpid() not in processes
    process = method.Process(target=encode, args=(embedding, manager, "a"))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    print(json.dumps(len(processes)))
"""
)

REFUSED = (
    SENDER
    + """
if __name__ == "__main__":
    method = multiprocessing.get_context("spawn")
    embedding = load_embedding("mini")
    made = {"initializer": other_bundle, "initargs": (sys.argv[1],)}
    found = []
    with ProcessPoolExecutor(1, mp_context=method, **made) as executor, method.Pool(1, **made) as pool:
        for answer in (executor.submit(dimension, embedding).result, pool.apply_async(dimension, (embedding,)).get):
            try:
                answer(60)
            except VerificationError as error:
                found.append(str(error))
        assert executor.submit(os.getpid).result(60) == executor.submit(os.getpid).result(60)
    print(json.dumps([embedding.info.bundle_digest, found]))
"""
)


@pytest.mark.parametrize("method", METHODS)
def test_each_process_of_a_pool_loads_once(method: str, run_python: Run, bundle: Path, tmp_path: Path) -> None:
    script = tmp_path / "send.py"
    script.write_text(POOLS, encoding="utf-8")
    done = run_python(str(script), method, environment={"THOTH_MODELS_DIR": str(bundle), "THREADS": "yes"})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) in (2, 3)


def test_another_bundle_is_the_error_of_the_task_and_the_pool_goes_on(
    run_python: Run, bundle: Path, other: Path, tmp_path: Path
) -> None:
    """Were it an error of unpickling, one pool would be broken without a reason, and the other would wait for ever."""
    script = tmp_path / "send.py"
    script.write_text(REFUSED, encoding="utf-8")
    done = run_python(str(script), str(other), environment={"THOTH_MODELS_DIR": str(bundle)})
    assert done.returncode == 0, done.stderr
    digest, errors = json.loads(done.stdout)
    assert len(errors) == 2
    assert all(f"expected the bundle {digest}, from which 'mini' was loaded" in error for error in errors), errors


FORKED = (
    SENDER.replace("import json, multiprocessing, os, sys", "import pickle")
    + """
embedding = load_embedding("mini")
used, unused = (pickle.loads(pickle.dumps(embedding)) for _ in range(2))
expected = used.encode("a").tolist()

def work():
    loads.clear()
    for sent in (used, unused, pickle.loads(pickle.dumps(embedding))):
        assert sent.encode("a").tolist() == expected
    assert loads == [os.getpid()]  # once, by the manager of the child

report([in_child(work, BOUND), in_child(work, BOUND)])
assert unused.encode("a").tolist() == expected
assert len(loads) == 2  # the embedding itself, and the two that were sent
""".replace("BOUND", str(BOUND))
)


def test_a_child_of_fork_uses_what_was_unpickled_before(run_python: Run, bundle: Path) -> None:
    children, errors = run_forks(run_python, FORKED, environment={"THOTH_MODELS_DIR": str(bundle)})
    assert [(child.outcome, child.status) for child in children] == [("ended", 0)] * 2, errors
