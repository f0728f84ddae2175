"""Work on all cores: in order, with the first error, and never in the way of a process that ends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from thoth_models.parallel import parallel

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable


@pytest.mark.parametrize("workers", [1, 2, 50])
def test_results_come_in_order(workers: int) -> None:
    assert parallel(lambda item: item * 2, range(20), workers) == list(range(0, 40, 2))


def test_nothing_to_do() -> None:
    assert parallel(str, [], 4) == []


def test_none_is_an_item_like_any_other() -> None:
    assert parallel(str, [None, 1, None], 2) == ["None", "1", "None"]


def test_several_threads_work_at_once() -> None:
    together = threading.Barrier(3, timeout=30)
    parallel(lambda _item: together.wait(), range(3), 3)


def test_an_error_is_raised_and_ends_the_rest() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 3:
            raise OSError("the fourth")
        done.append(item)

    with pytest.raises(OSError, match="the fourth"):
        parallel(work, range(100), 1)
    assert done == [0, 1, 2]


_HANGS = """
import threading, time
from thoth_models.parallel import parallel
threading.Thread(target=lambda: parallel(lambda item: time.sleep(600), [1], 1), daemon=True).start()
time.sleep(0.5)
print("ends")
"""


def test_a_read_that_hangs_does_not_keep_the_process(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    # run_python gives it two minutes; without daemons it would take ten.
    assert run_python("-c", _HANGS).stdout == "ends\n"
