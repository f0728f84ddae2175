"""A signal handler may raise between any two steps of the main thread's; nobody else pays for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.bundles import invented_model, make_bundle, make_writable

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

_INTERRUPTED = """
import faulthandler, random, signal, sys, threading, time
import numpy as np
from tests.bundles import FakeBackend
from thoth_models import EmbeddingManager, ManagerConfig, loads

faulthandler.dump_traceback_later(60, exit=True)

class Limit(Exception):
    pass  # as Celery's SoftTimeLimitExceeded

def interrupt(*_):
    raise Limit

loads.load_backend = lambda verified: FakeBackend(verified.model.dimension)
loads.import_libraries = lambda name: None
manager = EmbeddingManager(ManagerConfig(root=sys.argv[1]))
reference = FakeBackend()
counts, wrong, has_ended = [0] * 6, [], False

def expected(text):
    vector = reference.vector(text)
    return vector / np.linalg.norm(vector)

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
chance, raised = random.Random(7), 0
signal.signal(signal.SIGALRM, interrupt)
deadline = time.monotonic() + 4
while time.monotonic() < deadline:
    try:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.002), 0.05)
        try:
            # Some are swallowed, where weak references end.
            while time.monotonic() < deadline:
                manager.encode(["a b", "water"], "mini")
                manager.unload()
        except Limit:
            raised += 1
    except Limit:
        pass
    except TypeError as error:
        # numpy makes this of whatever is raised while it looks at its own arguments.
        assert isinstance(error.__cause__, Limit), error
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


def test_others_go_on_and_nothing_stays_taken(
    tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """In a process of its own: what measures coverage has a lock that an interrupt leaves locked."""
    root = tmp_path / "bundle"
    make_bundle(root, [invented_model("mini")], default="mini")
    try:
        done = run_python("-c", _INTERRUPTED, str(root), directory=Path(__file__).parents[2])
    finally:
        make_writable(root)
    assert done.stdout == "True True False []\n0\n", done.stderr
