"""A manager in a child of fork, whatever the parent's other threads held and did in that moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import invented_model, make_bundle, make_writable
from tests.support.forks import BOUND, CONTROL_BOUND, run_forks

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "bundle"
    make_bundle(root, [invented_model("mini")], default="mini")
    yield root
    make_writable(root)


_HELD = """
import asyncio
import numpy as np
import thoth_models.manager.manager as module
from thoth_models import EmbeddingManager, ManagerConfig
from thoth_models import backends

class Fake:
    def encode(self, texts, *, prompt, batch_size, show_progress_bar):
        return np.ones((len(texts), 8), np.float32)

backends.BACKENDS.update(dict.fromkeys(backends.BACKENDS, lambda: lambda verified: Fake()))
config = ManagerConfig(root=sys.argv[1])
models = EmbeddingManager.get_instance(config)
models.encode("a")
asyncio.run(models.aencode("a"))
locks = {
    "instances": module._instances._lock,
    "manager": models._lock,
    "answers": models._resolver._lock,
    "counters": models._resolver.counters._lock,
    "models": models._resolver.loaded._lock,
    "bundle": models._resolver._bundle._lock,
    "threads": models._threads._lock,
}
held, leave = threading.Event(), threading.Event()

def hold():
    with locks[sys.argv[3]]:
        held.set()
        leave.wait(60)

def child():
    again = EmbeddingManager.get_instance(config)
    assert again is models
    assert again.encode("a").shape == (8,)
    assert asyncio.run(again.aencode(["a"])).shape == (1, 8)
    assert again.stats().models["mini"].calls == 4, again.stats()
    again.close()

thread = threading.Thread(target=hold)
thread.start()
held.wait(30)
results = [in_child(child, float(sys.argv[2]))]
leave.set()
thread.join()
report(results)
"""


@pytest.mark.parametrize("what", ["instances", "manager", "counters", "models", "bundle", "threads"])
def test_locks_that_threads_of_the_parent_held(run_python: Run, bundle: Path, what: str) -> None:
    """Nobody gives them back in the child, nor are the threads there that asynchronous calls were made in."""
    children, errors = run_forks(run_python, _HELD, str(bundle), str(BOUND), what)
    assert [(child.outcome, child.status) for child in children] == [("ended", 0)], errors


_COMPUTING = """
from thoth_models.process import shutdown as ending
ending._PATIENCE = 600
begun, leave = threading.Event(), threading.Event()

def compute():
    with ending.computing():
        begun.set()
        leave.wait(60)

thread = threading.Thread(target=compute)
thread.start()
begun.wait(30)
results = [in_child(lambda: None, float(sys.argv[1]))]
leave.set()
thread.join()
report(results)
"""


def test_the_end_of_a_child_does_not_wait_for_what_its_parent_computes(run_python: Run) -> None:
    children, errors = run_forks(run_python, _COMPUTING, str(CONTROL_BOUND))
    assert [(child.outcome, child.status) for child in children] == [("ended", 0)], errors


_INTERRUPTED = """
from thoth_models.process import fork as forking

class Limit(Exception):
    pass

def interrupt(*_):
    raise Limit

def child():
    # The parent's thread is not here: there is nothing to wait for.
    assert in_child(lambda: None, float(sys.argv[1]))["outcome"] == "ended"

held, leave = threading.Event(), threading.Event()

def make():
    with forking.no_fork(600):
        held.set()
        leave.wait(60)

thread = threading.Thread(target=make)
thread.start()
held.wait(30)
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.5)
results = [in_child(child, float(sys.argv[2]))]
leave.set()
thread.join()
report(results)
"""


def test_a_fork_whose_waiting_was_interrupted(run_python: Run) -> None:
    """The interpreter forks all the same; what the parent's threads hold forks off with, the child does not heed."""
    children, errors = run_forks(run_python, _INTERRUPTED, str(CONTROL_BOUND), str(BOUND))
    assert [(child.outcome, child.status) for child in children] == [("ended", 0)], errors
    assert "Limit" in errors
