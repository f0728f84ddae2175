"""The end of a process in which daemon threads compute, and exit handlers that need them once more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import make_bundle, make_writable
from tests.support.onnx_models import plan, variant_files

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LATE = """
import atexit, sys, threading, time

def flush():  # registered before ours, so that it runs after it
    with ending.late_call():
        if sys.argv[1] == "thread":
            print(engine.submit(lambda: "computed").result(), flush=True)
        else:
            with busy:
                print("computed", flush=True)

atexit.register(flush)
from thoth_models.process import shutdown as ending
from thoth_models.process.daemon_executor import DaemonExecutor

engine = DaemonExecutor(1, "engine", around=ending.computing)
engine.submit(int).result()  # later ones start no thread
busy, begun = threading.Lock(), threading.Event()

def compute():
    while True:
        with busy, ending.computing():
            begun.set()
            time.sleep(0.01)

if sys.argv[1] == "lock":
    threading.Thread(target=compute, daemon=True).start()
    begun.wait(30)
"""


@pytest.mark.parametrize("what", ["thread", "lock"])
def test_an_exit_handler_of_the_application_encodes_once_more(
    run_python: Callable[..., subprocess.CompletedProcess[str]], what: str
) -> None:
    """It waits for a thread that computes for it, or for one that is kept from computing while it holds a lock."""
    started = time.monotonic()
    done = run_python("-c", _LATE, what)
    assert (done.returncode, done.stdout) == (0, "computed\n"), done.stderr
    assert time.monotonic() - started < 30


_WAITING = """
import atexit, asyncio, queue, sys, threading

def encode(text):
    try:
        models.encode(text)
    except EnvironmentFault as error:
        print(type(error).__name__, error)
    else:
        print("encoded", text)

def work():
    while text := texts.get():
        encode(text)

def last():  # registered before ours, so that it runs after it
    if sys.argv[2] == "thread":
        texts.put("in a thread")
        texts.put(None)
        thread.join()
    else:
        try:
            asyncio.run(models.aencode("asynchronously"))
        except EnvironmentFault as error:
            print(type(error).__name__, error)
    encode("in the main thread")

atexit.register(last)
from thoth_models import EmbeddingManager, EnvironmentFault, ManagerConfig

models = EmbeddingManager(ManagerConfig(root=sys.argv[1]))
# Before the end, because Python 3.12 starts no thread after it.
texts = queue.SimpleQueue()
thread = threading.Thread(target=work, daemon=True)
thread.start()
asyncio.run(models.aencode("early"))
"""


@pytest.fixture
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A bundle whose default model is one of the backend that the test is for."""
    if request.param == "torch":
        yield request.getfixturevalue("tiny_bundle")
        return
    root = tmp_path / "bundle"
    make_bundle(root, [plan(variant_files(tmp_path / "files"))], default="mini")
    yield root
    make_writable(root)


@pytest.mark.parametrize("how", ["thread", "async"])
@pytest.mark.parametrize(
    "root", [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("onnx", "torch")], indirect=True
)
def test_an_exit_handler_that_waits_for_another_thread_is_told(
    run_python: Callable[..., subprocess.CompletedProcess[str]], root: Path, how: str
) -> None:
    """It would wait for ever for a thread that waits for the end of the process."""
    done = run_python("-c", _WAITING, str(root), how)
    assert done.stdout.count("\n") == 2, done.stderr
    refusal, encoded = done.stdout.splitlines()
    assert refusal.startswith("EnvironmentFault expected a running process, found one in its last exit")
    assert (done.returncode, encoded) == (0, "encoded in the main thread")


_NO_WAIT = """
import atexit, threading, time

def last():  # registered before ours, so that it runs after it
    time.sleep(3)
    print("last", flush=True)

atexit.register(last)
from thoth_models.process import shutdown as ending

def compute():
    while True:
        with ending.computing():
            begun.set()

begun = threading.Event()
threading.Thread(target=compute, daemon=True).start()
begun.wait(30)
"""


def test_a_thread_that_never_rests_computes_nothing_while_the_process_ends(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = run_python("-c", _NO_WAIT)
    assert (done.returncode, done.stdout) == (0, "last\n"), done.stderr
    assert "EnvironmentFault: expected a running process" in done.stderr
