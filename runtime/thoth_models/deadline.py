"""Work in a thread of its own, so that whoever waits for it can stop waiting, and learn where it stands.

A thread that hangs inside a library can be neither stopped nor waited for, so these are daemons: the process can end.
What cannot be helped is a library that hangs while it keeps the interpreter to itself; then no Python code runs.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
import traceback
import weakref
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from thoth_models.errors import EnvironmentFault, LoadTimeout

T = TypeVar("T")

_PATIENCE = 1.0
"""Seconds that the end of the process waits for work that is not finished."""


class Work(ABC, Generic[T]):
    """One piece of work. Any number of threads may wait for it.

    Attributes:
        stage: What it is doing; :meth:`do` keeps it up to date.

    Args:
        what: The work in words, for the error.
        seconds: How long each caller waits.
    """

    def __init__(self, what: str, seconds: float) -> None:
        self.stage = "starting"
        self._what = what
        self._seconds = seconds
        self._result: T | None = None
        self._error: BaseException | None = None
        self._finished = threading.Event()
        self._starting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="thoth-models-load", daemon=True)

    @abstractmethod
    def do(self) -> T:
        """Do the work, in the thread."""

    def start(self) -> None:
        """Begin.

        Raises:
            EnvironmentFault: The system allows this process no more threads.
        """
        _unfinished.add(self)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._error = EnvironmentFault(f"{self._what}: expected to start a thread, found {error}")
            self._finished.set()
            raise self._error from error

    def ensure_started(self) -> None:
        """Begin, unless it has begun; for work that several threads wait for, any of which may be the first.

        Raises:
            EnvironmentFault: The system allows this process no more threads.
        """
        with self._starting:
            if self._thread.ident is None and not self.has_ended:
                self.start()

    @property
    def has_ended(self) -> bool:
        """Whether there is a result or an error."""
        return self._finished.is_set()

    def wait(self, seconds: float | None = None) -> T:
        """Return the result.

        Args:
            seconds: How long to wait; None for what the work was made with.

        Raises:
            LoadTimeout: There is none in time; carries the stacks. The thread is left to itself.
            BaseException: What the work raised.
        """
        bound = self._seconds if seconds is None else seconds
        if not self._finished.wait(bound):
            raise LoadTimeout(
                f"{self._what} did not finish within {bound:g} s; it was {self.stage}", stacks(self._thread)
            )
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value] # None is a result only where T says so

    def _run(self) -> None:
        try:
            self._result = self.do()
        except BaseException as error:  # noqa: BLE001 - handed to the threads that wait, which raise it
            self._error = error
        finally:
            self._finished.set()


def stacks(first: threading.Thread) -> str:
    """Return the stack of every thread as text, that of ``first`` first."""
    frames = sys._current_frames()  # noqa: SLF001 - the documented way to see other threads' stacks
    threads = [first, *(thread for thread in threading.enumerate() if thread is not first)]
    return "\n".join(
        f"Thread {thread.name}:\n{''.join(traceback.format_stack(frames[thread.ident]))}"
        for thread in threads
        if thread.ident in frames
    )


_unfinished: weakref.WeakSet[Work[Any]] = weakref.WeakSet()


def _wait_a_moment() -> None:
    """Let work end that is about to.

    A thread that comes back from a library while the interpreter ends can abort the process, whose exit code is lost.
    """
    end = time.monotonic() + _PATIENCE
    for work in list(_unfinished):
        if work._thread.is_alive():  # noqa: SLF001 - in a child of fork, it is not, though its work is not finished
            work._finished.wait(max(0.0, end - time.monotonic()))  # noqa: SLF001


atexit.register(_wait_a_moment)
