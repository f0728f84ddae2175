"""Daemon threads for asynchronous calls."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest

from thoth_models.callers import DaemonThreads
from thoth_models.errors import EnvironmentFault

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

SECONDS = 30.0


def test_calls_are_made_side_by_side_up_to_a_number_and_threads_are_used_again() -> None:
    threads = DaemonThreads(3, "caller")
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
    threads = DaemonThreads(8, "caller")
    for _ in range(5):
        assert threads.submit(lambda: threading.current_thread().name).result(SECONDS) == "caller_0"
        time.sleep(0.05)  # until it takes another one
    threads.close()


def test_errors_and_cancelled_calls() -> None:
    threads = DaemonThreads(1, "caller")
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
    threads = DaemonThreads(1, "caller")

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
    threads, leave = DaemonThreads(2, "caller"), threading.Event()
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
        DaemonThreads(2, "other").submit(lambda: None)


def test_closed_threads_do_what_they_took_and_take_no_more() -> None:
    threads = DaemonThreads(1, "caller")
    leave = threading.Event()
    futures = [threads.submit(lambda: leave.wait(SECONDS)) for _ in range(2)]
    threads.close()
    threads.close()
    with pytest.raises(RuntimeError, match="found that they were closed"):
        threads.submit(int)
    leave.set()
    assert [future.result(SECONDS) for future in futures] == [True, True]


_CANCELLED = """
import asyncio, sys, time
from thoth_models import EmbeddingManager, ManagerConfig, loads

loads.load_backend = lambda verified: time.sleep(600)

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
