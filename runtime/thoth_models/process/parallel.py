"""Calls on all cores, in daemon threads: a call that hangs on unresponsive storage does not block the exit."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from thoth_models.errors import EnvironmentFault
from thoth_models.process.daemon_executor import DaemonThread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

A = TypeVar("A")
B = TypeVar("B")

_PATIENCE = 2.0
"""Seconds that an interrupted call waits for its threads, which may hang. If the process ended while they compute in a
library, the library could abort it."""


def parallel(work: Callable[[A], B], items: Sequence[A], workers: int) -> list[B]:
    """Return ``work(item)`` for each of ``items``, in order, computed by up to ``workers`` threads.

    Raises:
        BaseException: The first error that ``work`` raised; items that were not started by then are skipped.
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

    threads = [DaemonThread(run, f"thoth-verify-{number}") for number in range(min(workers, len(items)))]
    try:
        _run_all(threads, run)
    except BaseException:
        errors.append(InterruptedError())  # the threads start no further item
        _wait_for_all(threads, _PATIENCE)
        raise
    if errors:
        try:
            raise errors[0]
        finally:
            errors.clear()  # break the cycle of error and frame, which would keep files mapped
    return [results[index] for index in range(len(items))]


def _run_all(threads: list[DaemonThread], run: Callable[[], None]) -> None:
    """Start the threads, and wait for all. If the system allows no more threads, those that started do all the work."""
    with contextlib.suppress(EnvironmentFault):
        _start_all(threads)
    if not any(_started(threads)):
        run()
    for thread in _started(threads):
        thread.wait()


def _start_all(threads: list[DaemonThread]) -> None:
    for thread in threads:
        thread.start()


def _started(threads: list[DaemonThread]) -> list[DaemonThread]:
    return [thread for thread in threads if thread.ident is not None]


def _wait_for_all(threads: list[DaemonThread], seconds: float) -> None:
    end = time.monotonic() + seconds
    for thread in _started(threads):
        thread.wait(max(0.0, end - time.monotonic()))
