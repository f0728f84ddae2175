"""Work that ends at its deadline, with the stacks, in a process that can end afterwards."""

from __future__ import annotations

import gc
import threading
import time
import traceback
import weakref
from typing import TYPE_CHECKING

import pytest

from thoth_models import EnvironmentFault, LoadTimeout
from thoth_models.process.task import Task, call_within, stacks

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path


class Example(Task[int]):
    def __init__(self, do: Callable[[Example], int], seconds: float = 30) -> None:
        super().__init__("the task", seconds)
        self._do = do

    def do(self) -> int:
        return self._do(self)


def test_a_result_and_an_error_reach_everyone_who_waits() -> None:
    for outcome in (5, ZeroDivisionError("a bug"), SystemExit(3)):

        def do(_task: Example, outcome: object = outcome) -> int:
            if isinstance(outcome, BaseException):
                raise outcome
            return 5

        task = Example(do)
        assert not task.has_ended
        task.start()
        for _ in range(2):
            if isinstance(outcome, BaseException):
                with pytest.raises(type(outcome)) as caught:
                    task.result()
                assert caught.value.args == outcome.args
                assert "do" in [entry.name for entry in traceback.extract_tb(caught.value.__traceback__)]
            else:
                assert task.result() == 5
        assert task.has_ended


def test_the_stage_and_the_stacks_are_in_the_error() -> None:
    release = threading.Event()

    def a_library_that_hangs(task: Example) -> int:
        task.stage = "opening the box"
        release.wait(60)
        return 1

    task = Example(a_library_that_hangs, 0.2)
    task.start()
    with pytest.raises(LoadTimeout, match=r"the task did not finish within 0\.2 s; it was opening the box") as caught:
        task.result()
    assert caught.value.stacks.startswith("Thread thoth-models-load:")
    assert "a_library_that_hangs" in str(caught.value)
    release.set()
    deadline = time.monotonic() + 30
    while not task.has_ended and time.monotonic() < deadline:
        time.sleep(0.01)
    assert task.result() == 1


def test_a_function_is_called_within_a_deadline() -> None:
    assert call_within(60, "adding", "at it", lambda: 1 + 1) == 2
    ended = threading.Event()
    with pytest.raises(LoadTimeout, match=r"waiting did not finish within 0\.1 s; it was at it"):
        call_within(0.1, "waiting", "at it", lambda: ended.wait(60))
    ended.set()
    with pytest.raises(ZeroDivisionError):
        call_within(60, "dividing", "at it", lambda: 1 // 0)


def test_a_thread_that_ended_has_no_stack() -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert stacks(thread).startswith("Thread MainThread:")


_HANGS = """
import ctypes, os, sys, threading, time
from thoth_models import LoadTimeout, load_embedding
from thoth_models import backends

def in_python(verified):
    while True:
        sum(range(1000))

def in_c(verified):
    ctypes.CDLL(None).sleep(600)  # lets others have the interpreter, as libraries do in what takes long

def in_a_read(verified):
    os.read(os.pipe()[0], 1)

def on_a_lock(verified):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

backends.BACKENDS.update(dict.fromkeys(backends.BACKENDS, lambda: globals()[sys.argv[2]]))
started = time.monotonic()
try:
    load_embedding("mini", root=sys.argv[1], timeout=1)
except LoadTimeout as error:
    assert time.monotonic() - started < 10
    assert sys.argv[2] in error.stacks.partition("Thread MainThread")[0], error.stacks
    assert "it was loading mini/" in str(error)
    print("raised", flush=True)
"""


@pytest.mark.parametrize("how", ["in_python", "in_c", "in_a_read", "on_a_lock"])
def test_a_library_that_hangs_does_not_keep_the_process(
    bundle: Path, run_python: Callable[..., subprocess.CompletedProcess[str]], how: str
) -> None:
    started = time.monotonic()
    done = run_python("-c", _HANGS, str(bundle), how)
    assert (done.returncode, done.stdout) == (0, "raised\n"), done.stderr
    assert time.monotonic() - started < 30


def test_no_more_threads_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    task = Example(lambda _: 1)
    for _ in range(2):
        with pytest.raises(EnvironmentFault, match="expected to start a thread, found can't start new thread"):
            task.result()
    assert task.has_failed


_ENDING = """
import sys, time
from thoth_models.process.task import Task
from thoth_models import LoadTimeout

class Slow(Task):
    def do(self):
        time.sleep(float(sys.argv[1]))
        print("ended", flush=True)

work = Slow("slow", 0.1)
work.start()
try:
    work.result()
except LoadTimeout:
    print("timed out", flush=True)
"""


@pytest.mark.parametrize(("seconds", "ended"), [("0.5", True), ("600", False)])
def test_the_end_of_a_process_waits_a_moment_for_work(
    run_python: Callable[..., subprocess.CompletedProcess[str]], seconds: str, *, ended: bool
) -> None:
    started = time.monotonic()
    done = run_python("-c", _ENDING, seconds)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == ["timed out", *(["ended"] if ended else [])]
    assert time.monotonic() - started < 30


def test_what_is_raised_keeps_nothing_of_those_who_waited() -> None:
    """Not in a cycle: a child that was forked while another thread collected garbage never collects any."""

    class Thing:
        pass

    def fail(task: Example) -> int:
        try:
            return int("inner")
        except ValueError as error:
            raise ZeroDivisionError("outer") from error

    def wait(task: Example) -> weakref.ref[Thing]:
        thing = Thing()  # as a caller may have a use of a model
        kept = weakref.ref(thing)
        try:
            task.result()
        except ZeroDivisionError:
            return kept
        finally:
            del task  # as whoever waits does
        raise AssertionError("expected an error")

    gc.collect()
    gc.disable()
    try:
        task = Example(fail)
        task.start()
        kept = [wait(task) for _ in range(3)]
        alive = weakref.ref(task)
        del task
        deadline = time.monotonic() + 30
        while alive() is not None and time.monotonic() < deadline:
            time.sleep(0.01)  # its thread ends
        assert alive() is None
        assert [thing() for thing in kept] == [None] * 3
    finally:
        gc.enable()


class OddError(Exception):
    """Made of something else than it keeps."""

    def __init__(self, number: int) -> None:
        super().__init__(f"number {number}")


def test_threads_that_wait_for_one_error_have_one_each() -> None:
    """One that they shared would have the frames of all of them, in a cycle that keeps whatever those have."""

    def fail(task: Example) -> int:
        try:
            return int("inner")
        except ValueError as error:
            problem = ZeroDivisionError("outer")
            problem.add_note("a note")
            raise problem from error

    task = Example(fail)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            task.result()
        except ZeroDivisionError as error:
            errors.append(error)

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(error) for error in errors}) == 4
    for error in errors:
        assert error.args == ("outer",)
        assert error.__notes__ == ["a note"]
        assert isinstance(error.__cause__, ValueError)
        names = [entry.name for entry in traceback.extract_tb(error.__traceback__)]
        assert (names.count("wait"), names[-1]) == (1, "fail")


def test_an_error_that_cannot_be_copied_is_raised_as_it_is() -> None:
    error = OddError(5)

    def fail(_task: Example) -> int:
        raise error

    with pytest.raises(OddError, match="number 5") as caught:
        Example(fail).result()
    assert caught.value is error
