"""Work on all cores that never keeps a process from ending.

``concurrent.futures`` waits for its threads when the interpreter exits, so one read that hangs on a storage that
stopped answering would hang the exit as well, after a deadline has long given up on it. These threads are daemons.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

A = TypeVar("A")
B = TypeVar("B")


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

    threads = [
        threading.Thread(target=run, name=f"thoth-verify-{number}", daemon=True)
        for number in range(min(workers, len(items)))
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException as error:  # an interrupt: nobody wants the rest any more
        errors.append(error)
        raise
    if errors:
        raise errors[0]
    return [results[index] for index in range(len(items))]
