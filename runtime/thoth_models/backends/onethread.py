"""A thread of our own that all calls of an engine are made in."""

from __future__ import annotations

import queue
import threading
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from thoth_models.ending import computing

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class OneThread:
    """Makes calls one after the other in a thread that lasts as long as this object. Threads may share it.

    The thread is a daemon: a call that hangs does not keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=_serve, args=(self._calls,), name=name, daemon=True).start()
        # Not when the interpreter ends: nobody waits for the thread then.
        weakref.finalize(self, self._calls.put, None).atexit = False

    def run(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, or raise what it raises, once all calls before it are done."""
        future: Future[T] = Future()
        self._calls.put((future, work))
        try:
            return future.result()
        finally:
            del future  # what is raised has this frame: without this, a cycle


def _serve(calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]) -> None:
    result: Any = None
    while (call := calls.get()) is not None:
        future, work = call
        try:
            with computing():
                result = work()
            future.set_result(result)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            future.set_exception(error)
        # Nothing of a call outlives it here, not even while this thread waits for the next one.
        result = None
        del call, future, work
