"""Work in a thread of its own, so that whoever waits for it can stop waiting, and learn where it stands.

A thread that hangs inside a library can be neither stopped nor waited for, so these are daemons: the process can end.
What cannot be helped is a library that hangs while it keeps the interpreter to itself; then no Python code runs.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import queue
import sys
import threading
import time
import traceback
import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from thoth_models.ending import late_call
from thoth_models.errors import EnvironmentFault, LoadTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_LONGEST_WAIT = 0.1
"""Seconds after which whoever waits looks again."""

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
        self._has_ended = False
        # A signal handler may raise between any two steps of the main thread's. Neither threading.Event nor
        # Thread.join survives that: a lock stays locked in the one, and the other takes the thread for stopped. So
        # whoever waits looks again from time to time, and should a thread not come to run, another one is started.
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._claim = threading.Lock()  # taken for good by the one thread that does the work
        self._thread: threading.Thread | None = None
        self._is_started = False
        self._not_before = 0.0
        self._afterwards: list[Callable[[], None]] = []

    @abstractmethod
    def do(self) -> T:
        """Do the work, in the thread."""

    def start(self) -> None:
        """Begin, unless it has begun; of several threads that wait for the work, any may be the first.

        Raises:
            EnvironmentFault: The system allows this process no more threads.
        """
        if self._is_started or self.has_begun or self._has_ended or time.monotonic() < self._not_before:
            return
        _unfinished.add(self)
        thread = threading.Thread(target=self._run, name="thoth-models-load", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not self._claim.acquire(blocking=False):
                return  # another thread came to run meanwhile
            self._error = EnvironmentFault(f"{self._what}: expected to start a thread, found {error}")
            self._end()
            fault = self._error
            del self  # what is raised has this frame
            raise fault from error
        self._is_started = True

    def may_begin(self, seconds: float = 0.0) -> None:
        """Let it begin ``seconds`` from now at the earliest, whoever starts it."""
        self._not_before = time.monotonic() + seconds

    def afterwards(self, do: Callable[[], None]) -> None:
        """Have ``do`` called when the work has ended, in its thread; now, where it has."""
        self._afterwards.append(do)
        if self._has_ended:
            self._do_afterwards()

    def _do_afterwards(self) -> None:
        while self._afterwards:
            with contextlib.suppress(IndexError):  # another thread was quicker
                self._afterwards.pop()()

    @property
    def has_begun(self) -> bool:
        """Whether a thread does it, or did."""
        return self._claim.locked()

    @property
    def has_ended(self) -> bool:
        """Whether there is a result or an error."""
        return self._has_ended

    @property
    def result(self) -> T | None:
        """What it gave, once it has ended without an error."""
        return self._result

    @property
    def error(self) -> BaseException | None:
        """What it raised, once it has ended with that; whoever raises it takes a copy, as :meth:`wait` does."""
        return self._error

    def wait(self, seconds: float | None = None) -> T:
        """Return the result.

        Whoever keeps the work in a variable deletes that when this raises: the work has what is raised, which has the
        frame of the variable.

        Args:
            seconds: How long to wait; None for what the work was made with.

        Raises:
            LoadTimeout: There is none in time; carries the stacks. The thread is left to itself.
            EnvironmentFault: The system allows this process no more threads.
            BaseException: What the work raised.
        """
        bound = self._seconds if seconds is None else seconds
        with late_call():
            has_ended = self._ends_within(bound)
        if not has_ended:
            error: BaseException = LoadTimeout(
                f"{self._what} did not finish within {bound:g} s; it was {self.stage}", stacks(self._thread)
            )
        elif self._error is None:
            return self._result  # type: ignore[return-value] # None is a result only where T says so
        else:
            error = copy_of(self._error)
        try:
            raise error
        finally:
            # What is raised has this frame: without this, whoever keeps that keeps the work as well, with its result,
            # and an error is part of a cycle with whatever the callers have.
            del self, error

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self._has_ended:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            self.start()
            with contextlib.suppress(queue.Empty):
                self._ended.get(timeout=min(remaining, _LONGEST_WAIT))
        self._ended.put(None)  # for the next one that waits
        return True

    def _run(self) -> None:
        if not self._claim.acquire(blocking=False):
            return  # another thread came first
        self._thread = threading.current_thread()
        try:
            self._result = self.do()
        except BaseException as error:  # noqa: BLE001 - handed to the threads that wait, which raise it
            _clear_frames(error)
            self._error = error
        finally:
            self._end()
            self._do_afterwards()
            del self  # this frame is one of the error's

    def _end(self) -> None:
        self._has_ended = True
        self._ended.put(None)


def done(work: Work[T]) -> T:
    """Begin the work and return its result, for the one caller that waits for it; see :meth:`Work.wait`."""
    try:
        work.start()
        return work.wait()
    finally:
        del work


def copy_of(error: BaseException) -> BaseException:
    """Return an error for one thread of several that wait: the same, but its traceback grows with that thread alone.

    Shared, it would have the frames of all of them, in cycles, and those have whatever their threads had: see below.
    """
    try:
        mine = copy.copy(error)
        if type(mine) is not type(error) or mine.args != error.args:
            return error  # a class that is made of something else than it keeps
    except Exception:  # noqa: BLE001 - classes of libraries may do anything when they are made
        return error
    mine.__cause__, mine.__context__ = error.__cause__, error.__context__
    mine.__suppress_context__ = error.__suppress_context__
    return mine.with_traceback(error.__traceback__)


def _clear_frames(error: BaseException) -> None:
    """Let go of what the frames of an error have; the lines stay.

    They have the work, and the work has the error: a cycle. As long as it is there, so is everything that the frames of
    those have who raise the error again, uses of models as well. And it may be there for ever: a child that was forked
    while another thread collected garbage never does so again.
    """
    found: list[BaseException] = [error]
    for one in found:
        traceback.clear_frames(one.__traceback__)
        found += [other for other in (one.__cause__, one.__context__) if other is not None and other not in found]


def stacks(first: threading.Thread | None) -> str:
    """Return the stack of every thread as text, that of ``first`` first."""
    frames = sys._current_frames()  # noqa: SLF001 - the documented way to see other threads' stacks
    threads = sorted(threading.enumerate(), key=lambda thread: thread is not first)
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
        thread = work._thread  # noqa: SLF001
        # In a child of fork, it is not alive, though its work is not finished.
        if thread is not None and thread.is_alive():
            work._ends_within(max(0.0, end - time.monotonic()))  # noqa: SLF001


atexit.register(_wait_a_moment)
