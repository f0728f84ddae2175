"""A task in its own thread. Callers wait until a deadline, and then get the stacks of all threads.

A thread that hangs inside a library can neither be stopped nor joined, so it is a daemon, and the process can exit. A
deadline cannot help if a library hangs while it holds the interpreter lock, because then no Python code runs.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import sys
import threading
import time
import traceback
import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from thoth_models.errors import EnvironmentFault, InvalidInputError, LoadTimeout
from thoth_models.process.daemon_executor import DaemonThread
from thoth_models.process.shutdown import late_call
from thoth_models.process.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_PATIENCE = 1.0
"""Seconds that the exit of the process waits for unfinished tasks."""


class Task(ABC, Generic[T]):
    """A task whose result any number of threads may wait for; the first of them starts it.

    Attributes:
        stage: The current step in words; :meth:`do` updates it.

    Args:
        what: The task in words, for error messages.
        seconds: How long each caller waits.
    """

    def __init__(self, what: str, seconds: float) -> None:
        self.stage = "starting"
        self._what = what
        self._seconds = seconds
        self._value: T | None = None
        self._error: BaseException | None = None
        self._has_ended = False
        self._ended = Signal()
        # If a signal handler raises while a thread is started, the thread may or may not run. So a waiting thread
        # starts another one until one has run; the first one that runs takes this lock permanently.
        self._claim = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_started = False
        self._not_before = 0.0
        self._afterwards: list[Callable[[], None]] = []

    @abstractmethod
    def do(self) -> T:
        """Compute and return the result; called in the task's thread."""

    def result(self, seconds: float | None = None) -> T:
        """Start the task if necessary, wait for its end, and return the result of :meth:`do`.

        Args:
            seconds: How long to wait; None for the task's default.

        Raises:
            LoadTimeout: The deadline passed; has the stacks of all threads. The task's thread keeps running.
            EnvironmentFault: The system allows this process no more threads.
            BaseException: The error that :meth:`do` raised.
        """
        bound = self._seconds if seconds is None else seconds
        error: BaseException | None = None
        try:
            with late_call():
                has_ended = self._ended.wait_until(self._look, bound)
            if not has_ended:
                what = f"{self._what} did not finish within {bound:g} s; it was {self.stage}"
                error = LoadTimeout(what, stacks(self._thread))
            elif self._error is not None:
                error = copy_of(self._error)
            if error is not None:
                raise error
            return self._value  # type: ignore[return-value] # None is a result only if T allows it
        finally:
            # The traceback of the error has this frame. Without this, a caller that keeps the error would keep the task
            # and its result alive, and the error would be part of a reference cycle.
            del self, error

    def _look(self) -> bool:
        """Return whether the task has ended; start it if necessary."""
        self.start()
        return self._has_ended

    def start(self) -> None:
        """Start the task unless it has started. If no thread can be started, that is the error of the task."""
        if self._is_started or self.has_begun or self._has_ended or time.monotonic() < self._not_before:
            return
        _tasks.add(self)
        try:
            DaemonThread(self._run, "thoth-models-load").start()
        except EnvironmentFault as error:
            if self._claim.acquire(blocking=False):  # or another thread has run meanwhile
                self._error = EnvironmentFault(f"{self._what}: {error}")  # a new one, without this frame
                self._end()
        self._is_started = True

    def may_begin(self, seconds: float = 0.0) -> None:
        """Allow the task to start, ``seconds`` from now at the earliest."""
        self._not_before = time.monotonic() + seconds

    def afterwards(self, do: Callable[[], None]) -> None:
        """Call ``do`` in the task's thread when the task has ended; now, if it has ended already."""
        self._afterwards.append(do)
        if self._has_ended:
            self._do_afterwards()

    def _do_afterwards(self) -> None:
        while self._afterwards:
            with contextlib.suppress(IndexError):  # another thread took it
                self._afterwards.pop()()

    @property
    def has_begun(self) -> bool:
        """Whether a thread runs the task, or has run it."""
        return self._claim.locked()

    @property
    def has_ended(self) -> bool:
        """Whether there is a value or an error."""
        return self._has_ended

    @property
    def value(self) -> T | None:
        """The result of :meth:`do`; None before the task has ended, and after an error."""
        return self._value

    @property
    def has_failed(self) -> bool:
        """Whether the task ended with an error."""
        return self._error is not None

    def _run(self) -> None:
        if not self._claim.acquire(blocking=False):
            return  # another thread runs the task
        self._thread = threading.current_thread()
        try:
            self._value = self.do()
        except BaseException as error:  # noqa: BLE001 - raised in the threads that wait
            _clear_frames(error)
            self._error = error
        finally:
            self._end()
            self._do_afterwards()
            del self  # the traceback of the error has this frame

    def _end(self) -> None:
        self._has_ended = True
        self._ended.notify()

    def _wait_for_thread(self, seconds: float) -> None:
        # In a child of fork the thread is not alive, though the task has not ended.
        if self._thread is not None and self._thread.is_alive():
            self._ended.wait_until(lambda: self._has_ended, seconds)


class _Call(Task[T]):
    """A task that calls a function."""

    def __init__(self, what: str, stage: str, seconds: float, function: Callable[[], T]) -> None:
        super().__init__(what, seconds)
        self.stage = stage
        self._function = function

    def do(self) -> T:
        return self._function()


def call_within(seconds: float, what: str, stage: str, function: Callable[[], T]) -> T:
    """Return what ``function`` returns, called in a thread of its own.

    Args:
        seconds: How long to wait.
        what: The task in words, for error messages.
        stage: What it is meanwhile, in words.
        function: What to call.

    Raises:
        LoadTimeout: The deadline passed; has the stacks of all threads. The thread keeps running.
        InvalidInputError: ``seconds`` is not a positive, finite number.
        EnvironmentFault: The system allows this process no more threads.
        BaseException: The error that ``function`` raised.
    """
    return _Call(what, stage, checked_seconds(seconds), function).result()


def checked_seconds(timeout: object) -> float:
    """Return ``timeout`` if it is a valid number of seconds.

    Raises:
        InvalidInputError: ``timeout`` is not a positive, finite number.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout <= threading.TIMEOUT_MAX:
        raise InvalidInputError(f"timeout: expected a positive, finite number of seconds, found {timeout!r}")
    return timeout


def copy_of(error: BaseException) -> BaseException:
    """Return a copy of an error with its own traceback, for one of several waiting threads.

    A shared error would collect the frames of all of them, in a reference cycle that keeps their local variables alive.
    """
    try:
        mine = copy.copy(error)
        if type(mine) is not type(error) or mine.args != error.args:
            return error  # a class that cannot be copied faithfully
    except Exception:  # noqa: BLE001 - copying an error of a library may raise anything
        return error
    mine.__cause__, mine.__context__ = error.__cause__, error.__context__
    mine.__suppress_context__ = error.__suppress_context__
    return mine.with_traceback(error.__traceback__)


def _clear_frames(error: BaseException) -> None:
    """Clear the local variables of an error's frames; the lines stay.

    The frames refer to the task, and the task to the error. This cycle would keep the local variables of all callers
    alive, including leases of models; for ever in a child that was forked while another thread collected garbage,
    because such a child never collects garbage.
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


_tasks: weakref.WeakSet[Task[Any]] = weakref.WeakSet()


def _wait_a_moment() -> None:
    """Wait a moment for running tasks.

    A thread that returns from a library during the shutdown of the interpreter can abort the process, which loses the
    exit code.
    """
    end = time.monotonic() + _PATIENCE
    for task in list(_tasks):
        task._wait_for_thread(max(0.0, end - time.monotonic()))  # noqa: SLF001


atexit.register(_wait_a_moment)
