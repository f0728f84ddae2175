"""Work on all cores that never keeps a process from ending.

``concurrent.futures`` waits for its threads when the interpreter exits, so one read that hangs on a storage that
stopped answering would hang the exit as well, after a deadline has long given up on it. These threads are daemons.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

A = TypeVar("A")
B = TypeVar("B")

_PATIENCE = 2.0
"""Seconds that an interrupted call waits for what its threads are in the middle of."""


def parallel(work: Callable[[A], B], items: Sequence[A], workers: int) -> list[B]:
    """Return ``work(item)`` for each of ``items``, in order, done by up to ``workers`` threads.

    Raises:
        BaseException: What ``work`` raised first; items that were not begun by then are not begun any more.
    """
    pending = iter(enumerate(items))
    results: dict[int, B] = {}
    errors: list[BaseException] = []
    lock = threading.Lock()

    def run() -> None:
        while not errors:
            with lock:
                turn = next(pending, None)
            if turn is None:
                return
            try:
                results[turn[0]] = work(turn[1])
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                errors.append(error)

    crew = _Crew(run, min(workers, len(items)))
    try:
        crew.work()
    except BaseException as error:  # an interrupt: nobody wants the rest any more
        errors.append(error)
        crew.wait(_PATIENCE)
        raise
    if errors:
        try:
            raise errors[0]
        finally:
            errors.clear()  # it refers to this frame, and this frame to it: files would stay mapped until a collection
    return [results[index] for index in range(len(items))]


class _Crew:
    """Threads that do the same work side by side."""

    def __init__(self, run: Callable[[], None], count: int) -> None:
        self._run = run
        self._count = count
        self._begun: list[threading.Thread] = []
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()

    def work(self) -> None:
        """Start them, and wait until all have ended."""
        for number in range(self._count):
            thread = threading.Thread(target=self._run_and_tell, name=f"thoth-verify-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads for this process: those that there are do it all
                break
            self._begun.append(thread)
        if not self._begun:
            self._run()
        for thread in self._begun:
            thread.join()

    def wait(self, seconds: float) -> None:
        """Wait for those that were interrupted in the middle of something.

        Bounded, because they may hang; but a process that ends while they compute in a library is aborted by it.
        """
        # Not with join: on Python 3.11 one that was interrupted takes its thread for ended.
        end = time.monotonic() + seconds
        with contextlib.suppress(queue.Empty):
            for _ in self._begun:
                self._ended.get(timeout=max(0.0, end - time.monotonic()))

    def _run_and_tell(self) -> None:
        try:
            self._run()
        finally:
            self._ended.put(None)
