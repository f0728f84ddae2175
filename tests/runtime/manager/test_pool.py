"""What stays loaded: each thing once, within a budget, and nothing that is in use is given up."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.making import SECONDS, Making
from thoth_models import LoadTimeout, ManagerClosedError, MemoryBudgetError
from thoth_models.manager.pool import Lease, Pool, Resident
from thoth_models.process.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable


class Workshop:
    """Makes things, and keeps account of it."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.evicted: list[tuple[str, int]] = []

    def pool(self, budget: int | None = None) -> Pool[str]:
        return Pool(budget, lambda key, size: self.evicted.append((key, size)))

    def make(self, key: str, do: Callable[[], str] | None = None) -> Callable[[], Task[str]]:
        def begin() -> Task[str]:
            self.begun.append(key)
            return Making(do or key.upper)

        return begin


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


def use(pool: Pool[str], workshop: Workshop, key: str, size: int = 1) -> str:
    lease = pool.lease(key, size, workshop.make(key), SECONDS)
    lease.release()
    return lease.thing


def hold(pool: Pool[str], workshop: Workshop, key: str, size: int = 1) -> Lease[str]:
    return pool.lease(key, size, workshop.make(key), SECONDS)


def keys(pool: Pool[str]) -> list[str]:
    return [resident.key for resident in pool.residents()]


def test_a_thing_is_made_when_it_is_first_asked_for_and_then_kept(workshop: Workshop) -> None:
    pool = workshop.pool()
    assert workshop.begun == []
    assert [use(pool, workshop, "a") for _ in range(3)] == ["A", "A", "A"]
    assert workshop.begun == ["a"]
    assert pool.residents() == [Resident(key="a", size=1, uses=0)]


def test_one_is_made_however_many_threads_ask(workshop: Workshop) -> None:
    pool = workshop.pool()
    release = threading.Event()
    found: list[str] = []

    def make() -> str:
        assert release.wait(SECONDS)
        return "A"

    def ask() -> None:
        found.append(pool.lease("a", 1, workshop.make("a", make), SECONDS).thing)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    release.set()
    for thread in threads:
        thread.join(SECONDS)
    assert found == ["A"] * 16
    assert workshop.begun == ["a"]


def test_all_that_wait_are_told_of_a_failure_and_the_next_one_tries_again(workshop: Workshop) -> None:
    pool = workshop.pool()
    release = threading.Event()
    errors: list[Exception] = []

    def fail() -> str:
        assert release.wait(SECONDS)
        raise OSError("no")

    def ask() -> None:
        try:
            pool.lease("a", 1, workshop.make("a", fail), SECONDS)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    while pool.reserved == 0:
        time.sleep(0.001)
    time.sleep(0.05)  # let them come, so that they wait for the same
    release.set()
    for thread in threads:
        thread.join(SECONDS)
    assert len(errors) == 4
    assert workshop.begun == ["a"]
    assert pool.reserved == 0
    assert use(pool, workshop, "a") == "A"


def test_one_that_hangs_is_not_started_a_second_time(workshop: Workshop) -> None:
    pool = workshop.pool(budget=10)
    release = threading.Event()

    def hang() -> str:
        assert release.wait(SECONDS)
        return "A"

    for _ in range(2):
        with pytest.raises(LoadTimeout):
            pool.lease("a", 1, workshop.make("a", hang), 0.05)
    assert workshop.begun == ["a"]
    assert pool.reserved == 1, "it takes its memory while it hangs"
    release.set()
    assert use(pool, workshop, "a") == "A"
    assert workshop.begun == ["a"]


def test_what_ended_after_all_had_stopped_waiting_can_be_given_up(workshop: Workshop) -> None:
    pool = workshop.pool(budget=1)
    release = threading.Event()

    def late() -> str:
        assert release.wait(SECONDS)
        return "A"

    with pytest.raises(LoadTimeout):
        pool.lease("a", 1, workshop.make("a", late), 0.05)
    release.set()
    assert use(pool, workshop, "b") == "B"
    assert workshop.evicted == [("a", 1)]


def test_the_least_recently_used_goes_first(workshop: Workshop) -> None:
    pool = workshop.pool(budget=3)
    for key in ("a", "b", "c", "a"):
        use(pool, workshop, key)
    use(pool, workshop, "d")
    assert workshop.evicted == [("b", 1)]
    assert keys(pool) == ["c", "a", "d"]
    use(pool, workshop, "e", size=2)
    assert [key for key, _ in workshop.evicted] == ["b", "c", "a"]
    assert pool.reserved == 3


def test_nothing_goes_in_vain(workshop: Workshop) -> None:
    pool = workshop.pool(budget=3)
    held = hold(pool, workshop, "a", size=2)
    use(pool, workshop, "b")
    with pytest.raises(MemoryBudgetError, match=r"c: expected 2 free bytes in the budget of 3 .* a \(2 bytes\)"):
        pool.lease("c", 2, workshop.make("c"), 0.05)
    assert workshop.evicted == []
    held.release()


def test_what_is_in_use_stays_and_whoever_needs_room_waits_for_it(workshop: Workshop) -> None:
    pool = workshop.pool(budget=1)
    held = hold(pool, workshop, "a")
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.append(use(pool, workshop, "b")))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    assert keys(pool) == ["a"]
    held.release()
    waiting.join(SECONDS)
    assert found == ["B"]
    assert keys(pool) == ["b"]


def test_a_lease_that_nobody_has_any_more_makes_room_too(workshop: Workshop) -> None:
    pool = workshop.pool(budget=1)
    leases = [pool.lease("a", 1, workshop.make("a"), SECONDS)]
    threading.Timer(0.2, leases.clear).start()
    assert use(pool, workshop, "b") == "B"


def test_more_than_the_budget_is_refused_at_once(workshop: Workshop) -> None:
    pool = workshop.pool(budget=3)
    use(pool, workshop, "a")
    with pytest.raises(MemoryBudgetError, match=r"^b: expected to take at most the budget of 3 bytes, found 4$"):
        pool.lease("b", 4, workshop.make("b"), SECONDS)
    assert keys(pool) == ["a"]


def test_a_lease_ends_once(workshop: Workshop) -> None:
    pool = workshop.pool()
    first = pool.lease("a", 1, workshop.make("a"), SECONDS)
    second = pool.lease("a", 1, workshop.make("a"), SECONDS)
    first.release()
    first.release()
    assert pool.residents() == [Resident(key="a", size=1, uses=1)]
    second.release()
    assert pool.residents() == [Resident(key="a", size=1, uses=0)]


def test_giving_up_on_demand(workshop: Workshop) -> None:
    pool = workshop.pool()
    held = hold(pool, workshop, "a")
    assert not pool.evict("a")
    held.release()
    assert pool.evict("a")
    assert not pool.evict("a")
    assert workshop.evicted == [("a", 1)]
    assert use(pool, workshop, "a") == "A"
    assert workshop.begun == ["a", "a"]


def test_a_closed_pool_gives_up_what_is_idle_now_and_the_rest_when_it_is(workshop: Workshop) -> None:
    pool = workshop.pool()
    held = hold(pool, workshop, "a")
    use(pool, workshop, "b")
    pool.close()
    assert keys(pool) == ["a"]
    for key in ("a", "c"):
        with pytest.raises(ManagerClosedError):
            pool.lease(key, 1, workshop.make(key), SECONDS)
    held.release()
    assert keys(pool) == []
    assert workshop.evicted == [("b", 1), ("a", 1)]


def test_a_pool_that_is_closed_while_somebody_waits_for_room(workshop: Workshop) -> None:
    pool = workshop.pool(budget=1)
    held = hold(pool, workshop, "a")
    errors: list[Exception] = []

    def ask() -> None:
        try:
            pool.lease("b", 1, workshop.make("b"), SECONDS)
        except ManagerClosedError as error:
            errors.append(error)

    waiting = threading.Thread(target=ask)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    pool.close()
    waiting.join(SECONDS)
    assert len(errors) == 1
    held.release()


def test_a_child_keeps_what_was_there_and_forgets_what_its_parent_was_doing(workshop: Workshop) -> None:
    """What a fork does to a pool in the child, done to one in this process."""
    pool = workshop.pool(budget=3)
    never = threading.Event()
    use(pool, workshop, "a")
    held = pool.lease("b", 1, workshop.make("b"), SECONDS)
    with pytest.raises(LoadTimeout):
        pool.lease("c", 1, workshop.make("c", lambda: str(never.wait(SECONDS))), 0.05)
    pool._lock.acquire()  # as a thread of the parent may have
    pool.after_fork_in_child()
    assert [(resident.key, resident.uses) for resident in pool.residents()] == [("a", 0), ("b", 0)]
    assert use(pool, workshop, "c") == "C"
    again = pool.lease("b", 1, workshop.make("b"), SECONDS)
    held.release()
    assert {resident.key: resident.uses for resident in pool.residents()}["b"] == 1, "a lease of the parent's counted"
    again.release()
    never.set()


class Counted:
    """A thing that takes a while to be destroyed, and knows how many there are."""

    alive = most = 0

    def __init__(self) -> None:
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self) -> None:
        time.sleep(0.3)
        Counted.alive -= 1


class LoadCounted(Task[Counted]):
    def __init__(self) -> None:
        super().__init__("counted", SECONDS)

    def do(self) -> Counted:
        return Counted()


@pytest.mark.parametrize("callers", [1, 2])
def test_loading_waits_until_what_made_room_is_gone(callers: int) -> None:
    """Also for whoever asks for the same thing, and did not give anything up for it."""
    pool: Pool[Counted] = Pool(100, lambda key, size: None)
    pool.lease("a", 100, LoadCounted, SECONDS).release()
    Counted.most = Counted.alive

    def ask() -> None:
        pool.lease("b", 100, LoadCounted, SECONDS).release()

    threads = [threading.Thread(target=ask) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    giving_up = threading.Thread(target=pool.evict, args=("b",))
    giving_up.start()
    pool.lease("c", 100, LoadCounted, SECONDS).release()
    giving_up.join()
    assert Counted.most == 1


def test_what_ends_after_its_callers_and_the_pool_is_not_kept() -> None:
    leave = threading.Event()

    class Late(Task[object]):
        def do(self) -> object:
            leave.wait(SECONDS)
            return object()

    pool: Pool[object] = Pool(100, lambda key, size: None)
    with pytest.raises(LoadTimeout):
        pool.lease("a", 100, lambda: Late("late", SECONDS), 0.1)
    pool.close()
    leave.set()
    deadline = time.monotonic() + SECONDS
    while pool.reserved and time.monotonic() < deadline:
        time.sleep(0.01)
    assert pool.reserved == 0
