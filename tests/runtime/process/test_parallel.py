"""Work on all cores: in order, with the first error, and never in the way of a process that ends."""

from __future__ import annotations

import contextlib
import gc
import threading
import weakref
from typing import TYPE_CHECKING

import pytest

from thoth_models.process.parallel import parallel

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


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_where_there_are_no_more_threads_those_that_there_are_do_it(
    monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def limited(thread: threading.Thread) -> None:
        if len(started) == allowed:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    assert parallel(lambda item: item * 2, range(20), 4) == list(range(0, 40, 2))
    assert len(started) == allowed


def test_an_error_keeps_nothing_alive() -> None:
    """Not even until the next collection: what was mapped by then would stay mapped."""

    class Thing:
        pass

    things = [Thing(), Thing()]
    gone = [weakref.ref(thing) for thing in things]
    gc.disable()
    try:
        with contextlib.suppress(OSError):
            parallel(fail, things, 2)
        things.clear()
        assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()


def fail(_thing: object) -> None:
    raise OSError("no")


_INTERRUPTED = """
import signal, sys, threading, time
from thoth_models.process.parallel import parallel
done = []
interrupt = threading.Timer(0.1, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
begun = threading.Barrier(2, interrupt.start)
def work(item):
    begun.wait(30)
    time.sleep(1)
    done.append(item)
try:
    parallel(work, range(50), 2)
except KeyboardInterrupt:
    print(sorted(done))
"""


def test_an_interrupted_call_waits_for_what_is_being_done(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """A process that ends while its threads are in a library can be aborted by them."""
    done = run_python("-c", _INTERRUPTED)
    assert done.stdout == "[0, 1]\n", done.stderr


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
from thoth_models.process.parallel import parallel
threading.Thread(target=lambda: parallel(lambda item: time.sleep(600), [1], 1), daemon=True).start()
time.sleep(0.5)
print("ends")
"""


def test_a_read_that_hangs_does_not_keep_the_process(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    # run_python gives it two minutes; without daemons it would take ten.
    assert run_python("-c", _HANGS).stdout == "ends\n"
