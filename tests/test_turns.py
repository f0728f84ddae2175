"""Side by side, or alone: what tests that measure rely on."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.turns import alone, together

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

SECONDS = 30.0


class Caller:
    """Takes a turn in a thread of its own until it is told to end."""

    def __init__(self, turn: Callable[[], AbstractContextManager[None]]) -> None:
        self._turn = turn
        self.entered, self.leave = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._turn():
            self.entered.set()
            assert self.leave.wait(SECONDS)

    def end(self) -> None:
        self.leave.set()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()


def test_others_go_side_by_side() -> None:
    callers = [Caller(together), Caller(together)]
    assert all(caller.entered.wait(SECONDS) for caller in callers)
    for caller in callers:
        caller.end()


def test_who_measures_waits_for_others_and_keeps_them_out() -> None:
    first = Caller(together)
    assert first.entered.wait(SECONDS)
    measuring = Caller(alone)
    time.sleep(0.2)
    assert not measuring.entered.is_set()
    later = Caller(together)
    time.sleep(0.2)
    assert not later.entered.is_set(), "it would be put off for ever, if others went first"
    first.end()
    assert measuring.entered.wait(SECONDS)
    time.sleep(0.2)
    assert not later.entered.is_set()
    measuring.end()
    assert later.entered.wait(SECONDS)
    later.end()


def test_a_turn_ends_with_an_error() -> None:
    for turn in (together, alone, together):
        with pytest.raises(LookupError), turn():
            raise LookupError
