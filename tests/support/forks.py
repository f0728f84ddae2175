"""Scripts that fork, run in an interpreter of their own, where a child that hangs is killed and said to hang."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping

BOUND = 30.0
"""Seconds that a child gets; beyond that it hangs."""

CONTROL_BOUND = 6.0
"""Seconds that an unprotected child gets: many times what it takes when nothing is in its way."""

_PRELUDE = """
import faulthandler, json, os, signal, sys, threading, time, traceback
faulthandler.register(signal.SIGUSR1, all_threads=True)

def in_child(work, seconds, leave=sys.exit):
    # What becomes of a child of fork that does the work and then ends, as an interpreter does at its end.
    parent = os.getpid()
    started = time.monotonic()
    sys.stdout.flush(); sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            work()
            code = 0
        except SystemExit:
            raise  # the end of a grandchild
        except BaseException:
            traceback.print_exc()
        if leave is sys.exit:
            sys.exit(code)  # through everything that runs at the end
        sys.stderr.flush()
        leave(code)
    while time.monotonic() - started < seconds:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return {"outcome": "ended", "status": status, "seconds": time.monotonic() - started}
        time.sleep(0.01)
    os.kill(child, signal.SIGUSR1)  # for the stacks of its threads, on standard error
    time.sleep(0.2)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return {"outcome": "hangs", "status": -9, "seconds": time.monotonic() - started}

def report(results):
    print(json.dumps(results))
    sys.stdout.flush()
"""


@dataclass(frozen=True)
class Child:
    """What became of a child. ``status`` is what waitpid says: 0 for one that ended well."""

    outcome: str
    status: int
    seconds: float


def run_forks(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
    script: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
) -> tuple[list[Child], str]:
    """Run a script that reports a list of children, and return them with what was written to standard error."""
    # A warning of Python 3.12 about forking with threads is what these tests are about.
    done = run_python(
        *("-W", "ignore::DeprecationWarning", "-c", _PRELUDE + script, *arguments),
        environment={"THOTH_MODELS_THREADS": "2", "OMP_NUM_THREADS": "2", **(environment or {})},
    )
    assert done.returncode == 0, done.stderr
    return [Child(**child) for child in json.loads(done.stdout.splitlines()[-1])], done.stderr
