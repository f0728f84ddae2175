"""Waiting for a condition in threads that a signal handler may interrupt anywhere."""

from __future__ import annotations

import contextlib
import math
import queue
import time
from typing import TYPE_CHECKING, TypeVar, final

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

POLL_SECONDS = 0.1
"""Poll interval in seconds, in case a notification was lost."""


@final
class Signal:
    """Wakes threads that wait for a condition. Threads and signal handlers may share it.

    A signal handler may raise between any two steps of the main thread. threading.Event, Condition and Thread.join do
    not survive that: a lock stays locked, or a running thread counts as stopped. A queue.SimpleQueue does survive it,
    and a lost notification delays a thread by at most :data:`POLL_SECONDS`.
    """

    def __init__(self) -> None:
        self._notifications: queue.SimpleQueue[None] = queue.SimpleQueue()

    def notify(self) -> None:
        """Wake one thread: a waiting one, or the next one that waits."""
        if self._notifications.empty():
            self._notifications.put(None)

    def wait_until(self, attempt: Callable[[], T], seconds: float = math.inf, *, is_exclusive: bool = False) -> T:
        """Call ``attempt`` now and after each notification, until it returns a true value or ``seconds`` have passed.

        A thread that waited with success notifies the next one, unless ``is_exclusive``: the condition may hold for
        more than one of them, and several notifications before a thread wakes count as one.

        Args:
            attempt: Returns a true value if the condition holds.
            seconds: Maximum time to wait.
            is_exclusive: Whether this thread is about to end the condition. If it holds for others even then, the
                caller notifies them.

        Returns:
            What the last attempt returned.
        """
        end = time.monotonic() + seconds
        has_waited = False
        while not (found := attempt()):
            remaining = end - time.monotonic()
            if remaining <= 0:
                return found
            has_waited = True
            with contextlib.suppress(queue.Empty):
                self._notifications.get(timeout=min(remaining, POLL_SECONDS))
        if has_waited and not is_exclusive:
            self.notify()
        return found
