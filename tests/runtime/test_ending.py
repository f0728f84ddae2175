"""The end of a process in which daemon threads compute, and exit handlers that need them once more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

_LATE = """
import atexit, sys, threading, time

def flush():  # registered before ours, so that it runs after it
    with ending.late_call():
        if sys.argv[1] == "thread":
            print(engine.run(lambda: "computed"), flush=True)
        else:
            with busy:
                print("computed", flush=True)

atexit.register(flush)
from thoth_models import ending
from thoth_models.backends.onethread import OneThread

engine = OneThread("engine")
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
