"""Daemon threads: the only threads that this package starts.

``concurrent.futures`` waits for its threads when the interpreter exits, so a cancelled call would delay the exit until
its deadline, and a call that hangs would block it for ever.
"""

from __future__ import annotations

import contextlib
import functools
import math
import queue
import sys
import threading
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, final

from thoth_models.errors import EnvironmentFault
from thoth_models.process.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_Calls: TypeAlias = "queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]"


@final
class DaemonThread(threading.Thread):
    """A thread that does not keep the process from exiting, and that can be joined again after an interrupt.

    Args:
        target: The function to run.
        name: Name of the thread, for stack traces.
    """

    def __init__(self, target: Callable[[], object], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)
        self._has_run = False
        self._ran = Signal()

    def start(self) -> None:
        """Start the thread.

        Raises:
            EnvironmentFault: The system allows this process no more threads, or the interpreter is shutting down.
        """
        handled = sys.exception()
        try:
            super().start()
        except RuntimeError as error:
            if error.__context__ is not handled and error.__context__ is not None:
                # A signal handler raised in a Condition of the standard library, which raised another error after it.
                raise error.__context__ from None
            raise EnvironmentFault(f"{self.name}: expected to start a thread, found {error}") from error

    def run(self) -> None:
        """Call the target, and release it."""
        try:
            super().run()
        finally:
            self._has_run = True
            self._ran.notify()

    def wait(self, seconds: float = math.inf) -> bool:
        """Wait for the end of the thread for at most ``seconds``; return whether it has ended."""
        # Not with join alone: on Python 3.11, an interrupted join marks a running thread as stopped.
        if not self._ran.wait_until(lambda: self._has_run, seconds):
            return False
        self.join()
        return True


@final
class DaemonExecutor:
    """Runs calls in up to ``count`` daemon threads, which are started on demand. Threads may share it.

    The threads end when the executor is closed or no longer referenced.

    Args:
        count: Maximum number of running calls; others wait for their turn.
        name: Name of the threads, followed by a number.
        around: Returns the context manager that each call runs in.
    """

    def __init__(
        self,
        count: int,
        name: str,
        around: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._count = count
        self._name = name
        self._lock = threading.RLock()
        self._calls: _Calls = queue.SimpleQueue()
        self._idle: queue.SimpleQueue[None] = queue.SimpleQueue()  # one item for each thread without a call
        # Those that run: each adds itself, because a signal handler may raise while one is started, before or after it
        # runs. As keys, because the executor adds them as well, to count one that has not come to that.
        self._threads: dict[threading.Thread, None] = {}
        self._serve = functools.partial(_serve, self._calls, self._idle, self._threads, around)
        self._end = weakref.finalize(self, self._calls.put, None)
        self._end.atexit = False  # the exit of the process does not wait for the threads

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Return the future of ``function``'s result. If it is cancelled before its turn, ``function`` is not called.

        Raises:
            RuntimeError: The executor was closed.
            EnvironmentFault: The first thread cannot be started, for example in a process's last exit handlers.
        """
        future: Future[T] = Future()
        with self._lock:
            if not self._end.alive:
                raise RuntimeError("expected an open executor, found a closed one")
            if not self._take_idle() and len(self._threads) < self._count:
                self._start_thread()
            self._calls.put((future, function))
        return future

    def close(self) -> None:
        """Accept no more calls; the threads end after the accepted ones."""
        with self._lock:
            self._end()

    def _take_idle(self) -> bool:
        try:
            self._idle.get_nowait()
        except queue.Empty:
            return False
        return True

    def _start_thread(self) -> None:
        thread = DaemonThread(self._serve, f"{self._name}_{len(self._threads)}")
        try:
            thread.start()
        except EnvironmentFault:
            if not self._threads:
                raise
        else:
            self._threads[thread] = None


# A function, because a thread that referred to its executor would keep it from being collected.
def _serve(
    calls: _Calls,
    idle: queue.SimpleQueue[None],
    threads: dict[threading.Thread, None],
    around: Callable[[], contextlib.AbstractContextManager[None]],
) -> None:
    threads[threading.current_thread()] = None
    while (call := calls.get()) is not None:
        _make(*call, around)
        del call  # drop all references to the call before waiting for the next one
        idle.put(None)
    calls.put(None)  # for the next thread


def _make(
    future: Future[Any], function: Callable[[], Any], around: Callable[[], contextlib.AbstractContextManager[None]]
) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        with around():
            result = function()
        future.set_result(result)
    except StopIteration as error:
        # A coroutine cannot raise StopIteration; awaiting a future with it would never end.
        future.set_exception(_as_runtime_error(error))
    except BaseException as error:  # noqa: BLE001 - raised again where the result is waited for
        future.set_exception(error)
    finally:
        # The error has this frame, and the future has the error: without this, a cycle, which would keep the backend
        # that the function belongs to.
        del future, function


def _as_runtime_error(error: StopIteration) -> RuntimeError:
    raised = RuntimeError(f"expected a result, found StopIteration({error.value!r})")
    raised.__cause__ = error
    return raised
