"""A signal handler may raise between any two steps of the main thread's, or call the manager that this one calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import invented_model, make_bundle, make_writable

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

_PRELUDE = """
import faulthandler, random, signal, sys, threading, time
import numpy as np
from tests.support.bundles import FakeBackend
from thoth_models import EmbeddingManager, ManagerConfig
from thoth_models import backends

faulthandler.dump_traceback_later(60, exit=True)
load = lambda verified: FakeBackend(verified.model.dimension)
backends.BACKENDS.update(dict.fromkeys(backends.BACKENDS, lambda: load))
config = ManagerConfig(root=sys.argv[1])
manager = EmbeddingManager.get_instance(config)
reference = FakeBackend()
chance = random.Random(7)

def expected(text):
    vector = reference.vector(text)
    return vector / np.linalg.norm(vector)

"""

_INTERRUPTED = """
class Limit(Exception):
    pass  # as Celery's SoftTimeLimitExceeded

def interrupt(*_):
    global armed
    if armed:
        armed = False
        raise Limit

armed = False
counts, wrong, has_ended = [0] * 6, [], False

def work(number):
    turn = 0
    while not has_ended:
        turn += 1
        text = f"{number} {turn}"
        if not np.allclose(manager.encode(text, "mini"), expected(text), atol=1e-5):
            wrong.append(text)
        if turn % 50 == 0:
            manager.unload()  # so that what loads is interrupted as well
        counts[number] += 1

threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(6)]
for thread in threads:
    thread.start()
raised = 0
signal.signal(signal.SIGALRM, interrupt)
deadline = time.monotonic() + 4
def call():
    # A function: a loop with a condition within `try` does not do in CPython 3.13; see the end of `gathering`.
    while armed and time.monotonic() < deadline:  # some are swallowed, where weak references end
        manager.encode(["a b", "water"], "mini")
        manager.unload()

while time.monotonic() < deadline:
    try:
        armed = True
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.002))
        call()
        armed = False
    except Limit:
        raised += 1
    except (KeyError, TypeError) as error:
        # numpy makes a TypeError of whatever is raised while it looks at its own arguments, and CPython 3.13 a KeyError
        # where it starts a thread.
        assert isinstance(error.__cause__ or error.__context__, Limit), error
signal.setitimer(signal.ITIMER_REAL, 0)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
before = list(counts)
time.sleep(2)
still = [now > then for now, then in zip(counts, before)]
has_ended = True
for thread in threads:
    thread.join(30)
print(raised > 20, all(still), any(thread.is_alive() for thread in threads), wrong)
manager.unload()
print(manager.stats().reserved_bytes)
"""


_CALLED = """
calls, wrong, has_ended = 0, [], False

def handler(*_):
    global calls
    if not np.allclose(manager.encode("handler", "mini"), expected("handler"), atol=1e-5):
        wrong.append("handler")
    assert manager.stats().models["mini"].loads
    assert EmbeddingManager.get_instance(config) is manager
    manager.unload()
    calls += 1

def work():
    while not has_ended:
        manager.encode("water", "mini")

thread = threading.Thread(target=work, daemon=True)
thread.start()
signal.signal(signal.SIGALRM, handler)
deadline = time.monotonic() + 3
while time.monotonic() < deadline:
    signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.002))
    for text in ("a", "b", "c"):
        if not np.allclose(manager.encode(text, "mini"), expected(text), atol=1e-5):
            wrong.append(text)
        EmbeddingManager.get_instance(config).stats()
signal.setitimer(signal.ITIMER_REAL, 0)
has_ended = True
thread.join(30)
print(calls > 20, thread.is_alive(), wrong)
"""


@pytest.fixture
def run_in_bundle(
    tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> Iterator[Callable[[str], subprocess.CompletedProcess[str]]]:
    """Run a script in a process of its own: what measures coverage has a lock that an interrupt leaves locked."""
    root = tmp_path / "bundle"
    make_bundle(root, [invented_model("mini")], default="mini")
    yield lambda script: run_python("-c", _PRELUDE + script, str(root), directory=Path(__file__).parents[3])
    make_writable(root)


def test_others_go_on_and_nothing_stays_taken(
    run_in_bundle: Callable[[str], subprocess.CompletedProcess[str]],
) -> None:
    done = run_in_bundle(_INTERRUPTED)
    assert done.stdout == "True True False []\n0\n", done.stderr


def test_a_handler_that_calls_the_manager_which_it_interrupted(
    run_in_bundle: Callable[[str], subprocess.CompletedProcess[str]],
) -> None:
    done = run_in_bundle(_CALLED)
    assert done.stdout == "True False []\n", done.stderr
