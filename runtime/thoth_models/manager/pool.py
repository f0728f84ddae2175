"""What a process keeps loaded: each thing once, however many threads ask; the least recently used goes first.

Knows nothing of models: keys, sizes in bytes, and work that makes a thing. Nothing that is in use is given up. A child
of ``fork`` keeps what was there, and starts anew what threads of its parent were in the middle of.
"""

from __future__ import annotations

import gc
import queue
import threading
import time
import weakref
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar, final

from thoth_models.errors import LoadTimeout, ManagerClosedError, MemoryBudgetError
from thoth_models.forking import at_fork, never_destroy

if TYPE_CHECKING:
    from collections.abc import Callable

    from thoth_models.deadline import Work

T = TypeVar("T")

CLOSED: Final = "expected a manager that is open, found one that was closed"

_LONGEST_WAIT = 0.1
"""Seconds after which whoever waits for room looks again."""

_PATIENCE = 1.0
"""Seconds that loading waits for what makes room for it; whoever gave that up may have been interrupted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resident:
    """One thing that is loaded.

    Attributes:
        key: Its name.
        size: Bytes that it is reckoned to take.
        uses: How many uses of it there are at the moment.
    """

    key: str
    size: int
    uses: int


class _Entry(Generic[T]):
    """A thing that is being loaded (``work``), or was (``thing``)."""

    __slots__ = ("key", "last_used", "leases", "size", "thing", "work")

    def __init__(self, key: str, size: int, work: Work[T]) -> None:
        self.key = key
        self.size = size
        self.work: Work[T] | None = work
        self.thing: T | None = None
        # Weak: a lease that nobody has any more is none. So one that is lost, because a signal handler raised before
        # its caller had it, ends by itself.
        self.leases: weakref.WeakSet[Lease[T]] = weakref.WeakSet()
        self.last_used = 0

    @property
    def is_idle(self) -> bool:
        """Whether it is loaded, and nobody uses it."""
        return self.work is None and not self.uses

    @property
    def uses(self) -> int:
        """How many leases somebody has; by looking, because what takes the others out of the set can be interrupted."""
        while True:
            try:
                return sum(1 for _ in self.leases)
            except RuntimeError:  # a signal handler began a use, or ended one
                continue


@final
class Lease(Generic[T]):
    """A use of one thing, until :meth:`release`, or until nobody has the lease any more; it stays loaded that long."""

    def __init__(self, pool: Pool[T], entry: _Entry[T]) -> None:
        self._pool = pool
        self._entry = entry
        self._thing: T | None = entry.thing
        self._generation = pool.generation

    @property
    def thing(self) -> T:
        """The thing."""
        if self._thing is None:
            raise RuntimeError("expected a lease of what is loaded")
        return self._thing

    @property
    def is_forgotten(self) -> bool:
        """Whether this process was forked since, so that the use does not count any more."""
        return self._generation != self._pool.generation

    def release(self) -> None:
        """End the use. A second call does nothing."""
        self._pool._release(self, self._entry)  # noqa: SLF001 - the other half of that class


@final
class Pool(Generic[T]):
    """Things that are loaded when they are first needed, within a budget of bytes. Threads may share it.

    Args:
        budget: Most bytes that things take together, as they are reckoned; None for no limit.
        evicted: Called with the key and the reckoned size of each thing that was given up, when that is done.
    """

    def __init__(self, budget: int | None, evicted: Callable[[str, int], None]) -> None:
        self._budget = budget
        self._evicted = evicted
        self._entries: dict[str, _Entry[T]] = {}
        self._leaving: dict[_Entry[T], float] = {}  # what was given up, and is being destroyed, with since when
        self._ticks = 0
        # A lock of the interpreter's own, and no Condition, which a signal handler that raises can leave locked.
        self._lock = threading.RLock()
        self._freed: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_closed = False
        self.generation = 0  # one more in each child of fork
        self.evictions: Counter[str] = Counter()
        at_fork(self)

    def lease(self, key: str, size: int, load: Callable[[], Work[T]], seconds: float) -> Lease[T]:
        """Return a use of the thing ``key``, which is loaded if it is not; waits for at most ``seconds``.

        Args:
            key: Its name.
            size: Bytes that it will take.
            load: Makes the work that loads it; called once for any number of threads that ask meanwhile.
            seconds: How long to wait, for room and for the work.

        Raises:
            MemoryBudgetError: It takes more than the budget, or what is in use left no room for it in time.
            LoadTimeout: The work did not end in time. It goes on, and whoever asks next waits for the same.
            ManagerClosedError: The pool was closed.
            BaseException: What the work raised; whoever asks next starts it again.
        """
        if self._budget is not None and size > self._budget:
            raise MemoryBudgetError(f"{key}: expected to take at most the budget of {self._budget} bytes, found {size}")
        deadline = time.monotonic() + seconds
        evicted: list[_Entry[T]] = []
        has_collected = False
        while (lease := self._try_lease(key, size, load, evicted)) is None:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise MemoryBudgetError(self._no_room(key, size))
            try:
                # In short pieces: the end of a use that nobody has any more wakes nobody.
                self._freed.get(timeout=min(remaining, _LONGEST_WAIT))
            except queue.Empty:
                if not has_collected:
                    # An error that somebody kept, with its frames, may be all that keeps a use.
                    gc.collect()
                    has_collected = True
        entry = lease._entry  # noqa: SLF001 - the other half of that class
        work = entry.work
        try:
            self._gave_up(evicted)
        finally:
            if evicted and work is not None:
                work.may_begin()  # only now, whoever waits for it: until then what was given up took the room
        if work is not None:
            try:
                work.start()
                self._wait(entry, work, deadline)
            except BaseException:
                lease.release()
                # What is raised has this frame, and the work has what is raised.
                del entry, work
                raise
        lease._thing = entry.thing  # noqa: SLF001 - another thread may have seen the work end since the lease was made
        return lease

    def _try_lease(self, key: str, size: int, load: Callable[[], Work[T]], evicted: list[_Entry[T]]) -> Lease[T] | None:
        """Return a lease of what is loaded, or will be; None where there is no room. ``evicted`` is what has to go."""
        with self._lock:
            self._settle()
            self._expect_open()
            return self._lease_of(key, size, load, evicted)

    def _lease_of(self, key: str, size: int, load: Callable[[], Work[T]], evicted: list[_Entry[T]]) -> Lease[T] | None:
        while True:
            entry = self._entries.get(key)
            if entry is None:
                if not self._make_room(size, evicted):
                    return None
                entry = self._entries.setdefault(key, _Entry(key, size, load()))
                if evicted and entry.work is not None:
                    entry.work.may_begin(_PATIENCE)
            lease = Lease(self, entry)
            entry.leases.add(lease)
            # A signal handler that calls the pool as well may have given it up before it was in use.
            if self._entries.get(key) is entry:
                self._touch(entry)
                return lease

    def _settle(self) -> None:
        """Take account of work that has ended, also where nobody was there to do so."""
        for entry, since in list(self._leaving.items()):
            if time.monotonic() - since > _PATIENCE:  # whoever destroys it was interrupted, or is stuck in that
                self._leaving.pop(entry, None)
        for entry in self._all():
            work = entry.work
            if work is None:
                continue
            if work.has_ended and work.error is not None:
                self._drop(entry)  # raised in those that wait for it; here it is only known to be over
            elif work.has_ended:
                entry.thing = work.result
                entry.work = None
                if self._is_closed and entry.is_idle:  # it ended after its caller had given up, and after the pool
                    self._drop(entry)
            elif not entry.uses and not work.has_begun:
                self._drop(entry)  # who asked for it was interrupted before it began

    def _make_room(self, size: int, evicted: list[_Entry[T]]) -> bool:
        """Give up what was used least recently until there is room; say whether there is."""
        if self._budget is None:
            return True
        taken = sum(entry.size for entry in (*self._all(), *self._leaving))
        idle = self._idle()
        # Nothing goes in vain: what is in use may take so much that no eviction helps.
        if taken - sum(entry.size for entry in idle) + size > self._budget:
            return False
        for entry in idle:
            if taken + size <= self._budget:
                break
            if self._let_go(entry):
                evicted.append(entry)
            taken -= entry.size
        return True

    # Loops with conditions stand outside of `with`: see the end of `gathering`.
    def _idle(self) -> list[_Entry[T]]:
        """Return what is loaded and not in use, the least recently used first."""
        return sorted((entry for entry in self._all() if entry.is_idle), key=lambda entry: entry.last_used)

    def _all(self) -> list[_Entry[T]]:
        """Return a list: a signal handler that calls the pool as well may change the dict."""
        return list(self._entries.values())

    def _let_idle_go(self) -> list[_Entry[T]]:
        return [entry for entry in self._idle() if self._let_go(entry)]

    def _unfinished(self) -> list[Work[T]]:
        return [entry.work for entry in self._all() if entry.work is not None]

    def _residents(self) -> list[Resident]:
        entries = sorted(self._all(), key=lambda entry: entry.last_used)
        return [Resident(key=entry.key, size=entry.size, uses=entry.uses) for entry in entries if entry.work is None]

    def _let_go(self, entry: _Entry[T]) -> bool:
        """Give a thing up; False where a signal handler did so, which this thread was interrupted by."""
        if not self._drop(entry):
            return False
        self._leaving[entry] = time.monotonic()
        return True

    def _drop(self, entry: _Entry[T]) -> bool:
        return self._entries.get(entry.key) is entry and self._entries.pop(entry.key, None) is entry

    def _no_room(self, key: str, size: int) -> str:
        others = ", ".join(f"{entry.key} ({entry.size} bytes)" for entry in self._all())
        return (
            f"{key}: expected room for {size} bytes in the budget of {self._budget} within the deadline, "
            f"found it taken by what is in use: {others}"
        )

    def _wait(self, entry: _Entry[T], work: Work[T], deadline: float) -> None:
        try:
            thing = work.wait(max(0.0, deadline - time.monotonic()))
        except BaseException as error:
            with self._lock:
                # One that hangs goes on: whoever asks next waits for it, and starts no second one beside it.
                if work.has_ended and not isinstance(error, LoadTimeout):
                    self._drop(entry)
            del entry, work
            raise
        with self._lock:
            entry.thing, entry.work = thing, None

    def _release(self, lease: Lease[T], entry: _Entry[T]) -> None:
        dropped: list[_Entry[T]] = []
        with self._lock:
            entry.leases.discard(lease)
            self._touch(entry)
            if self._is_closed and entry.is_idle and self._let_go(entry):
                dropped.append(entry)
        self._tell()
        self._gave_up(dropped)

    def _tell(self) -> None:
        """Say that there may be room. Where that is lost, whoever waits looks again anyway."""
        if self._freed.empty():
            self._freed.put(None)

    def _touch(self, entry: _Entry[T]) -> None:
        self._ticks += 1
        entry.last_used = self._ticks

    def evict(self, key: str) -> bool:
        """Give up a thing now, unless it is in use or not there; say whether it was given up."""
        with self._lock:
            self._settle()
            entry = self._entries.get(key)
            if entry is None or not entry.is_idle or not self._let_go(entry):
                return False
        self._gave_up([entry])
        return True

    def close(self) -> None:
        """Give up everything: what is in use, at the end of its use. Nothing is loaded any more."""
        with self._lock:
            self._is_closed = True
            self._settle()
            given_up = self._let_idle_go()
            unfinished = self._unfinished()
        self._gave_up(given_up)
        for work in unfinished:
            work.afterwards(self._drop_what_came_late)

    def _drop_what_came_late(self) -> None:
        """Let go of what was loaded after its callers had given up, and the pool was closed."""
        with self._lock:
            self._settle()

    def residents(self) -> list[Resident]:
        """Return what is loaded now, the least recently used first; what is being loaded is not among it."""
        with self._lock:
            self._settle()
            return self._residents()

    @property
    def reserved(self) -> int:
        """Bytes that everything takes that is loaded, or being loaded, as they are reckoned."""
        with self._lock:
            return sum(entry.size for entry in self._all())

    def _expect_open(self) -> None:
        if self._is_closed:
            raise ManagerClosedError(CLOSED)

    def _gave_up(self, entries: list[_Entry[T]]) -> None:
        """Let go of things outside of the lock, since destroying them may take long, and say so."""
        for entry in entries:
            entry.thing = None
            self._leaving.pop(entry, None)
            self._tell()
            self.evictions[entry.key] += 1
            self._evicted(entry.key, entry.size)

    def _inherited(self) -> None:
        """Be what a child of ``fork`` can use; called when it has one thread yet.

        What was loaded stays. Uses are forgotten, since those of threads that no longer exist would never end. Work
        that a thread of the parent was doing is never finished, nor destroyed.
        """
        self._lock = threading.RLock()
        self._freed = queue.SimpleQueue()
        self._leaving = {}
        self.generation += 1
        for entry in self._all():
            for lease in entry.leases:
                lease._thing = None  # noqa: SLF001 - whoever has a use that does not count keeps nothing loaded
            entry.leases = weakref.WeakSet()
            if entry.work is not None:
                never_destroy(entry, entry.work)
                del self._entries[entry.key]
