"""Daemon threads for asynchronous calls."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import weakref
from typing import TYPE_CHECKING

import pytest

from thoth_models.errors import EnvironmentFault
from thoth_models.process.daemon_executor import DaemonExecutor, DaemonThread

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

SECONDS = 30.0


def test_calls_are_made_side_by_side_up_to_a_number_and_threads_are_used_again() -> None:
    threads = DaemonExecutor(3, "caller")
    together, leave = threading.Barrier(4, timeout=SECONDS), threading.Event()

    def call() -> str:
        together.wait()
        leave.wait(SECONDS)
        return threading.current_thread().name

    futures = [threads.submit(call) for _ in range(3)]
    late = threads.submit(lambda: "late")
    together.wait()
    assert not late.done()
    leave.set()
    names = {"caller_0", "caller_1", "caller_2"}
    assert {future.result(SECONDS) for future in futures} == names
    assert late.result(SECONDS) == "late"
    assert threads.submit(lambda: threading.current_thread().name).result(SECONDS) in {
        "caller_0",
        "caller_1",
        "caller_2",
    }
    threads.close()


def test_a_second_call_after_the_first_needs_no_second_thread() -> None:
    threads = DaemonExecutor(8, "caller")
    for _ in range(5):
        assert threads.submit(lambda: threading.current_thread().name).result(SECONDS) == "caller_0"
        time.sleep(0.05)  # until it takes another one
    threads.close()


class InterruptedStartError(Exception):
    pass


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_thread_whose_start_was_interrupted_is_one_of_the_number_if_it_runs(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = DaemonThread.start

    def interrupted(thread: DaemonThread) -> None:
        monkeypatch.setattr(DaemonThread, "start", start)
        if moment == "after":
            start(thread)
        raise InterruptedStartError

    monkeypatch.setattr(DaemonThread, "start", interrupted)
    threads = DaemonExecutor(1, "caller")
    with pytest.raises(InterruptedStartError):
        threads.submit(lambda: None)
    running, leave, names = [], threading.Event(), set()

    def call() -> None:
        running.append(1)
        names.add(threading.current_thread().name)
        leave.wait(0.2)
        running.pop()
        assert not running

    for future in [threads.submit(call) for _ in range(3)]:
        future.result(SECONDS)
    assert names == {"caller_0"}
    threads.close()


def test_an_interrupt_that_breaks_a_start_comes_out_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Condition that a signal handler interrupted raises another error after it; a lack of threads does not."""

    def interrupted(_: threading.Thread) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("release unlocked lock")

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    thread = DaemonThread(lambda: None, "caller")
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        thread.start()
    monkeypatch.setattr(threading.Thread, "start", refused)
    try:
        int("no number")
    except ValueError:  # an error that the caller handles meanwhile is none of the start
        with pytest.raises(EnvironmentFault, match="caller: expected to start a thread, found can't start new thread"):
            thread.start()


def test_errors_and_cancelled_calls() -> None:
    threads = DaemonExecutor(1, "caller")
    leave, made = threading.Event(), []
    first = threads.submit(lambda: leave.wait(SECONDS))
    second = threads.submit(lambda: made.append("called"))
    assert second.cancel()
    leave.set()
    assert first.result(SECONDS)
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result(SECONDS)
    assert made == []
    threads.close()


def test_the_end_of_an_iteration_reaches_whoever_awaits_the_call() -> None:
    """No future takes it as it is, and whoever awaits that future would wait for ever."""
    threads = DaemonExecutor(1, "caller")

    def call() -> None:
        raise StopIteration("ended")

    async def work() -> None:
        await asyncio.wait_for(asyncio.wrap_future(threads.submit(call)), SECONDS)

    with pytest.raises(RuntimeError, match=r"found StopIteration\('ended'\)") as caught:
        asyncio.run(work())
    assert isinstance(caught.value.__cause__, StopIteration)
    threads.close()


def test_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that there are take all calls; where there is none, that is an error of ours."""
    threads, leave = DaemonExecutor(2, "caller"), threading.Event()
    first = threads.submit(lambda: leave.wait(SECONDS))

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    second = threads.submit(lambda: "called")
    leave.set()
    assert first.result(SECONDS)
    assert second.result(SECONDS) == "called"
    threads.close()
    with pytest.raises(EnvironmentFault, match="other_0: expected to start a thread, found can't start new thread"):
        DaemonExecutor(2, "other").submit(lambda: None)


def test_closed_threads_do_what_they_took_and_take_no_more() -> None:
    threads = DaemonExecutor(1, "caller")
    leave = threading.Event()
    futures = [threads.submit(lambda: leave.wait(SECONDS)) for _ in range(2)]
    threads.close()
    threads.close()
    with pytest.raises(RuntimeError, match="found a closed one"):
        threads.submit(int)
    leave.set()
    assert [future.result(SECONDS) for future in futures] == [True, True]


_CANCELLED = """
import asyncio, sys, time
from thoth_models import EmbeddingManager, ManagerConfig
from thoth_models import backends

backends.BACKENDS.update(dict.fromkeys(backends.BACKENDS, lambda: lambda verified: time.sleep(600)))

async def main():
    manager = EmbeddingManager(ManagerConfig(root=sys.argv[1], timeout=60))
    try:
        await asyncio.wait_for(manager.aencode("water", "mini"), 0.5)
    except asyncio.TimeoutError:
        print("gave up", flush=True)

asyncio.run(main())
"""


def test_a_call_that_was_given_up_does_not_keep_the_process(
    run_python: Callable[..., subprocess.CompletedProcess[str]], bundle: Path
) -> None:
    started = time.monotonic()
    done = run_python("-c", _CANCELLED, str(bundle))
    assert (done.returncode, done.stdout) == (0, "gave up\n"), done.stderr
    assert time.monotonic() - started < 30


def test_an_error_leaves_no_cycle_behind() -> None:
    """In a cycle it would keep what the call belongs to, a backend with its weights, until a collection."""

    class Thing:
        def fail(self) -> None:
            raise ValueError("no")

    executor, thing = DaemonExecutor(1, "caller"), Thing()
    gone = weakref.ref(thing)
    gc.disable()
    try:
        future = executor.submit(thing.fail)
        with contextlib.suppress(ValueError):
            future.result(SECONDS)
        del future, thing
        end = time.monotonic() + SECONDS
        while gone() is not None and time.monotonic() < end:
            time.sleep(0.01)
        assert gone() is None
    finally:
        gc.enable()
        executor.close()
