"""What measures runs alone, also where other processes of the same run of tests are at work.

Each test takes the lock together with others, or alone. Who waits to be alone holds the door: nobody else comes in
before, so that it is never put off for ever.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def _place() -> Path:
    """Return a directory that all processes of this run share, and no other run."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
    place = Path(tempfile.gettempdir(), f"thoth-tests-{run}")
    place.mkdir(exist_ok=True)
    return place


@contextmanager
def _held(name: str, kind: int) -> Iterator[None]:
    with Path(_place(), name).open("ab") as file:
        fcntl.flock(file, kind)
        yield


@contextmanager
def together() -> Iterator[None]:
    """Run beside others, unless one of them is alone or waits to be."""
    with _held("door", fcntl.LOCK_EX):
        inside = _held("inside", fcntl.LOCK_SH)
        inside.__enter__()
    try:
        yield
    finally:
        inside.__exit__(None, None, None)


@contextmanager
def alone() -> Iterator[None]:
    """Wait until nobody else is at work, and keep it so."""
    with _held("door", fcntl.LOCK_EX), _held("inside", fcntl.LOCK_EX):
        yield
