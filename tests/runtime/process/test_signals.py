"""Threads that wait for a condition: woken at once, late where a notification is lost, and for a bounded time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.waiting import until
from thoth_models.process import signals
from thoth_models.process.signals import Signal

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

SECONDS = 30.0


def test_what_is_so_already_is_not_waited_for() -> None:
    assert Signal().wait_until(lambda: "found", 0.0) == "found"


def test_the_last_attempt_is_returned_when_time_is_up() -> None:
    attempts: list[int] = []
    started = time.monotonic()
    assert Signal().wait_until(lambda: attempts.append(1), 0.25) is None
    assert 0.2 < time.monotonic() - started < SECONDS
    assert len(attempts) >= 3, "it looks by itself as well"


@pytest.fixture
def never_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "POLL_SECONDS", 4 * SECONDS)


def waiting(signal: Signal, found: list[str]) -> threading.Thread:
    thread = threading.Thread(target=signal.wait_until, args=(lambda: bool(found), 4 * SECONDS), daemon=True)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    return thread


@pytest.mark.usefixtures("never_polls")
def test_a_notification_wakes_a_thread() -> None:
    signal, found = Signal(), list[str]()
    thread = waiting(signal, found)
    found.append("it")
    signal.notify()
    thread.join(SECONDS)
    assert not thread.is_alive()


@pytest.mark.usefixtures("never_polls")
def test_one_notification_wakes_all_for_whom_the_condition_holds() -> None:
    """As where two slots are freed before a thread that waits has run."""
    signal, found = Signal(), list[str]()
    threads = [waiting(signal, found) for _ in range(3)]
    found.append("it")
    signal.notify()
    for thread in threads:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.usefixtures("never_polls")
def test_a_thread_that_waits_for_what_it_has_alone_wakes_no_other() -> None:
    signal, found, attempts = Signal(), list[str](), list[int]()

    def take() -> str | None:
        attempts.append(1)
        return found.pop() if found else None

    threads = [
        threading.Thread(target=signal.wait_until, args=(take, 4 * SECONDS), kwargs={"is_exclusive": True}, daemon=True)
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
        thread.join(0.2)
    for remaining in (1, 0):
        found.append("it")
        signal.notify()
        until(lambda remaining=remaining: sum(thread.is_alive() for thread in threads) <= remaining, SECONDS)
        time.sleep(0.2)
        assert sum(thread.is_alive() for thread in threads) == remaining
    assert len(attempts) == 4, "two in vain at the beginning, and one for each notification"


@pytest.mark.usefixtures("never_polls")
def test_a_notification_that_comes_early_is_kept_once() -> None:
    signal, attempts = Signal(), list[int]()
    for _ in range(3):
        signal.notify()
    started = time.monotonic()
    signal.wait_until(lambda: attempts.append(1), 0.2)
    assert len(attempts) == 3, "at once, for the notification, and when time is up"
    assert time.monotonic() - started < SECONDS


def test_a_notification_that_is_lost_delays_and_no_more() -> None:
    signal, found = Signal(), list[str]()
    thread = waiting(signal, found)
    found.append("it")
    thread.join(SECONDS)
    assert not thread.is_alive()


_INTERRUPTED = """
import random, signal, threading, time
from thoth_models.process.signals import Signal

class Limit(Exception):
    pass

def interrupt(*_):
    raise Limit

shared, turns, has_ended = Signal(), [], False

def work():
    while not has_ended:
        shared.wait_until(lambda: True)
        shared.notify()
        turns.append(1)
        time.sleep(0.0005)

thread = threading.Thread(target=work, daemon=True)
thread.start()
signal.signal(signal.SIGALRM, interrupt)
chance, raised, end = random.Random(3), 0, time.monotonic() + 2
while time.monotonic() < end:
    try:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.002))
        try:
            while True:
                shared.wait_until(lambda: False, 0.01)
                shared.notify()
        except Limit:
            raised += 1
    except Limit:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
before = len(turns)
time.sleep(0.5)
print(raised > 50, len(turns) > before, shared.wait_until(lambda: "works"))
has_ended = True
thread.join(10)
"""


def test_an_interrupted_wait_leaves_nothing_locked(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = run_python("-c", _INTERRUPTED)
    assert done.stdout == "True True works\n", done.stderr
