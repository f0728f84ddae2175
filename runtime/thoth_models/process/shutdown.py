"""The end of a process while a daemon thread computes.

A thread that comes back from native code while the interpreter ends is unwound by it, through frames of C++ that cannot
be: the process aborts, and its exit code is lost. So the end of the process waits a moment for what is being computed,
and other threads begin nothing any more. They do for as long as the main thread encodes once more, in an exit handler
of the application. Whether an exit handler waits for another thread cannot be told; so a thread that wants to compute
is refused after a moment, and whoever waits for it goes on.
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
"""Seconds that the end of the process waits for what is being computed, and then a thread for leave to compute."""

_STEP = 0.005
_computing: set[int] = set()
_has_ended = False
_patient_until = 0.0
_late_calls = 0
"""How many calls the main thread is in, one inside of the other, that began after the end did."""


@contextlib.contextmanager
def computing() -> Iterator[None]:
    """Hold up the end of the process for a moment; a thread that comes later computes for the main thread alone.

    Raises:
        EnvironmentFault: The process has ended but for exit handlers, and the main thread does not wait for this in a
            call of ours.
    """
    if _has_ended and threading.current_thread() is not threading.main_thread():
        # Most that come here are daemons, which end with the process while they wait.
        _wait_for_a_late_call()
    me = threading.get_ident()
    _computing.add(me)
    try:
        yield
    finally:
        _computing.discard(me)


@contextlib.contextmanager
def late_call() -> Iterator[None]:
    """Let daemon threads compute, if the main thread waits for them after the end began."""
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
                "expected a process that goes on, found one that runs its last exit handlers, in which only the main "
                "thread can encode; a handler that waits for another thread has to be registered after the import of "
                "thoth_models, so that it is called before the models are given up"
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
# The parent's other threads compute nothing in the child.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_computing.clear)
