"""Whoever waits for something of a pool learns of it at once, and what is lost on the way keeps nothing."""

from __future__ import annotations

import gc
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.making import SECONDS, Making
from thoth_models import LoadTimeout
from thoth_models.manager import pool
from thoth_models.manager.pool import Lease, Pool
from thoth_models.process import signals
from thoth_models.process.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable


def make(key: str) -> Callable[[], Task[str]]:
    return lambda: Making(key.upper)


def use(things: Pool[str], key: str, seconds: float = SECONDS) -> str:
    lease = things.lease(key, 1, make(key), seconds)
    lease.release()
    return lease.thing


@pytest.fixture
def one_at_a_time() -> Pool[str]:
    return Pool(1, lambda key, size: None)


@pytest.fixture
def never_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits has to be told."""
    monkeypatch.setattr(signals, "POLL_SECONDS", 4 * SECONDS)


def waits_until(things: Pool[str], happens: Callable[[], object]) -> None:
    """Have somebody wait for room that comes with what happens then."""
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.append(use(things, "b", 4 * SECONDS)), daemon=True)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    happens()
    waiting.join(SECONDS)
    assert found == ["B"]


@pytest.mark.usefixtures("never_looks_again")
def test_the_end_of_a_use_is_told(one_at_a_time: Pool[str]) -> None:
    held = one_at_a_time.lease("a", 1, make("a"), SECONDS)
    waits_until(one_at_a_time, held.release)


@pytest.mark.usefixtures("never_looks_again")
def test_a_load_that_failed_is_told(one_at_a_time: Pool[str]) -> None:
    leave = threading.Event()

    def fail() -> str:
        assert leave.wait(SECONDS)
        raise OSError("no")

    def ask() -> None:
        with pytest.raises(OSError, match="no"):
            one_at_a_time.lease("a", 1, lambda: Making(fail), SECONDS)

    asking = threading.Thread(target=ask)
    asking.start()
    while not one_at_a_time.reserved:
        time.sleep(0.001)
    waits_until(one_at_a_time, leave.set)
    asking.join(SECONDS)


@pytest.mark.usefixtures("never_looks_again")
def test_what_was_given_up_on_demand_is_told(one_at_a_time: Pool[str]) -> None:
    """It takes its room until it is destroyed: whoever comes meanwhile waits for that."""
    gone = threading.Event()
    evicted: list[str] = []

    class Slow:
        def __del__(self) -> None:
            assert gone.wait(SECONDS)

    class MakingSlow(Task[Any]):
        def do(self) -> Any:
            return Slow()

    things: Pool[Any] = Pool(1, lambda key, size: evicted.append(key))
    things.lease("a", 1, lambda: MakingSlow("slow", SECONDS), SECONDS).release()
    giving_up = threading.Thread(target=things.evict, args=("a",))
    giving_up.start()
    waits_until(things, gone.set)
    giving_up.join(SECONDS)
    assert evicted == ["a"]


@pytest.mark.usefixtures("never_looks_again")
def test_all_that_wait_for_one_load_are_told(one_at_a_time: Pool[str]) -> None:
    leave = threading.Event()
    found: list[str] = []

    def slow() -> str:
        assert leave.wait(SECONDS)
        return "A"

    def ask() -> None:
        found.append(one_at_a_time.lease("a", 1, lambda: Making(slow), 4 * SECONDS).thing)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(5)]
    for thread in threads:
        thread.start()
    threads[-1].join(0.3)
    leave.set()
    end = time.monotonic() + SECONDS
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    assert found == ["A"] * 5


def test_the_end_of_a_use_counts_for_which_was_used_least_recently() -> None:
    things: Pool[str] = Pool(2, lambda key, size: None)
    held = things.lease("a", 1, make("a"), SECONDS)
    use(things, "b")
    held.release()
    use(things, "c")
    assert [resident.key for resident in things.residents()] == ["a", "c"]


def test_a_use_that_only_a_cycle_keeps_makes_room(one_at_a_time: Pool[str]) -> None:
    """As an error does that is kept with its frames, in a process that collects no garbage by itself."""
    gc.collect()
    gc.disable()
    try:
        cycle: list[object] = [one_at_a_time.lease("a", 1, make("a"), SECONDS)]
        cycle.append(cycle)
        del cycle
        assert use(one_at_a_time, "b") == "B"
    finally:
        gc.enable()


def test_a_load_whose_caller_was_interrupted_before_it_began_takes_no_room(one_at_a_time: Pool[str]) -> None:
    lease = one_at_a_time._try_lease("a", 1, make("a"), [])
    assert one_at_a_time.reserved == 1
    del lease
    assert use(one_at_a_time, "b") == "B"


def test_whoever_keeps_the_error_of_a_load_keeps_no_use(one_at_a_time: Pool[str]) -> None:
    leave = threading.Event()

    def late() -> str:
        assert leave.wait(SECONDS)
        return "A"

    with pytest.raises(LoadTimeout) as kept:
        one_at_a_time.lease("a", 1, lambda: Making(late), 0.05)
    leave.set()
    assert use(one_at_a_time, "b") == "B"
    assert kept.value.stacks


def test_a_load_that_ends_just_when_somebody_begins_to_wait_for_it(
    one_at_a_time: Pool[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = threading.Event()

    def slow() -> str:
        assert leave.wait(SECONDS)
        return "A"

    def ask() -> None:
        one_at_a_time.lease("a", 1, lambda: Making(slow), SECONDS).release()

    first = threading.Thread(target=ask)
    first.start()
    while not one_at_a_time.reserved:
        time.sleep(0.001)
    try_lease = one_at_a_time._try_lease

    def late(*arguments: Any) -> Any:
        lease = try_lease(*arguments)
        leave.set()
        while not one_at_a_time.residents():  # which takes account of its end
            time.sleep(0.001)
        return lease

    monkeypatch.setattr(one_at_a_time, "_try_lease", late)
    assert use(one_at_a_time, "a") == "A"
    first.join(SECONDS)


def test_what_a_signal_handler_gives_up_is_loaded_again(
    one_at_a_time: Pool[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(one_at_a_time, "a")
    handled: list[bool] = []

    def interrupted(things: Pool[str], entry: Any) -> Lease[str]:
        if not handled:
            handled.append(things.evict("a"))
        return Lease(things, entry)

    monkeypatch.setattr(pool, "Lease", interrupted)
    lease = one_at_a_time.lease("a", 1, make("a"), SECONDS)
    assert handled == [True]
    assert lease.thing == "A"
    assert [(resident.key, resident.uses) for resident in one_at_a_time.residents()] == [("a", 1)]


def test_what_a_signal_handler_loads_is_not_loaded_a_second_time(one_at_a_time: Pool[str]) -> None:
    begun: list[str] = []

    def interrupted() -> Task[str]:
        begun.append("a")
        if len(begun) == 1:
            one_at_a_time.lease("a", 1, interrupted, SECONDS).release()
        return Making(lambda: f"A{len(begun)}")

    assert one_at_a_time.lease("a", 1, interrupted, SECONDS).thing == "A2"
    assert one_at_a_time.reserved == 1


def test_giving_up_what_a_signal_handler_gave_up(one_at_a_time: Pool[str], monkeypatch: pytest.MonkeyPatch) -> None:
    use(one_at_a_time, "a")
    let_go = one_at_a_time._let_go
    handled: list[bool] = []

    def interrupted(entry: Any) -> bool:
        if not handled:
            handled.append(True)
            handled.append(one_at_a_time.evict("a"))
        return let_go(entry)

    monkeypatch.setattr(one_at_a_time, "_let_go", interrupted)
    assert not one_at_a_time.evict("a")
    assert handled == [True, True]
    assert one_at_a_time.evictions == {"a": 1}
    assert not one_at_a_time._leaving


def test_adding_up_while_a_signal_handler_gives_something_up() -> None:
    things: Pool[str] = Pool(None, lambda key, size: None)
    handled: list[bool] = []

    class Size(int):
        def __radd__(self, other: int) -> int:
            if not handled:
                handled.append(things.evict("b"))
            return other + int(self)

    for key in ("a", "b", "c"):
        things.lease(key, Size(1), make(key), SECONDS).release()
    assert things.reserved == 3
    assert handled == [True]
    assert things.reserved == 2
