"""The exit of a process while a daemon thread computes.

A thread that returns from native code during the shutdown of the interpreter is unwound through C++ frames that do not
support it: the process aborts, and its exit code is lost. So the exit waits a moment for computations in progress, and
other threads start no new ones. They may while the main thread encodes once more, in an exit handler of the
application. Whether an exit handler waits for another thread cannot be detected, so a thread that wants to compute is
refused after a moment, and the handler continues.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

from thoth_models.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE = 1.0
"""Seconds that the exit waits for computations in progress, and that a thread then waits for permission to compute."""

_STEP = 0.005
_computing: set[int] = set()
_has_ended = False
_patient_until = 0.0
_late_calls = 0
"""Number of nested calls of the main thread that started after the exit began."""


@contextlib.contextmanager
def computing() -> Iterator[None]:
    """Delay the exit of the process while a computation runs; during the exit, compute only for the main thread.

    Raises:
        EnvironmentFault: The process runs its last exit handlers, and the main thread is not waiting for this in a call
            of this package.
    """
    if _has_ended and threading.current_thread() is not threading.main_thread():
        # Most threads that get here are daemons, which end with the process while they wait.
        _wait_for_a_late_call()
    me = threading.get_ident()
    _computing.add(me)
    try:
        yield
    finally:
        _computing.discard(me)


@contextlib.contextmanager
def late_call() -> Iterator[None]:
    """Allow daemon threads to compute while the main thread waits for them during the exit."""
    global _late_calls  # noqa: PLW0603 - the process ends once
    if not _has_ended or threading.current_thread() is not threading.main_thread():
        yield
        return
    _late_calls += 1
    try:
        yield
    finally:
        _late_calls -= 1
        if not _late_calls:
            _wait_a_moment()


def _wait_for_a_late_call() -> None:
    while not _late_calls:
        if time.monotonic() > _patient_until:
            raise EnvironmentFault(
                "expected a running process, found one in its last exit handlers, where only the main thread can "
                "encode; an exit handler that waits for another thread must be registered after the import of "
                "thoth_models, so that it runs before the models are closed"
            )
        time.sleep(_STEP)


def _wait_a_moment() -> None:
    global _has_ended, _patient_until  # noqa: PLW0603 - the process ends once
    _has_ended = True
    deadline = time.monotonic() + _PATIENCE
    _patient_until = deadline + _PATIENCE
    while _computing - {threading.get_ident()} and time.monotonic() < deadline:
        time.sleep(_STEP)


atexit.register(_wait_a_moment)
# The parent's other threads do not exist in the child.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_computing.clear)
