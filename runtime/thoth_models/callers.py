"""Threads that asynchronous calls are made in."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar, final

from thoth_models.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@final
class DaemonThreads:
    """Up to ``count`` threads, made when there are calls for them. Threads may share it.

    ``concurrent.futures`` waits for its threads when the interpreter exits, so a call that was cancelled would hold up
    the end of the process until its deadline, and one that hangs would for ever. These are daemons.

    Args:
        count: Most calls that are in progress at once; others wait for their turn.
        name: What the threads are called, with a number.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._threads = 0
        self._free = 0
        self._is_closed = False

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Return the future of what ``function`` returns; cancelled before its turn, it is not called.

        Raises:
            RuntimeError: It was closed.
            EnvironmentFault: This process may start no thread, as where it has ended but for exit handlers, and there
                is none yet.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._is_closed:
                raise RuntimeError("expected threads that take calls, found that they were closed")
            if self._free > 0:
                self._free -= 1
            elif self._threads < self._count:
                name = f"{self._name}_{self._threads}"
                try:
                    threading.Thread(target=self._serve, name=name, daemon=True).start()
                except RuntimeError as error:
                    if not self._threads:
                        fault = f"{name}: expected to start a thread, found {error}"
                        raise EnvironmentFault(fault) from error
                else:
                    self._threads += 1
            self._calls.put((future, function))
        return future

    def close(self) -> None:
        """Take no more calls; the threads end when those are done that were taken."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                for _ in range(self._threads):
                    self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function = call
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except StopIteration as error:
                    # A coroutine cannot raise it, and whoever awaits one that tries to would wait for ever.
                    future.set_exception(_as_runtime_error(error))
                except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                    future.set_exception(error)
            # Nothing of a call outlives it here, not even while this thread waits for the next one.
            del call, future, function
            with self._lock:
                self._free += 1


def _as_runtime_error(error: StopIteration) -> RuntimeError:
    raised = RuntimeError(f"expected a result, found StopIteration({error.value!r})")
    raised.__cause__ = error
    return raised
