"""A cache of loaded objects: each is loaded once, however many threads ask; the least recently used is evicted first.

It does not depend on models: it has keys, sizes in bytes, and tasks that load an object. An object in use is never
evicted. A child of ``fork`` keeps the loaded objects, and restarts loads that threads of its parent had in progress.
"""

from __future__ import annotations

import functools
import gc
import threading
import time
import weakref
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar, final

from thoth_models.errors import ManagerClosedError, MemoryBudgetError
from thoth_models.process.fork import ForkAware, at_fork, never_destroy
from thoth_models.process.signals import POLL_SECONDS, Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from thoth_models.process.task import Task

T = TypeVar("T")

CLOSED: Final = "expected an open manager, found a closed one"

_PATIENCE = 1.0
"""Seconds that a load waits for evicted objects to be destroyed; the thread that destroys them may be interrupted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resident:
    """A loaded object.

    Attributes:
        key: Its name.
        size: Its estimated size in bytes.
        uses: The present number of leases.
    """

    key: str
    size: int
    uses: int


class _Entry(Generic[T]):
    """An object that is loading or loaded: the value of its task."""

    __slots__ = ("key", "last_used", "leases", "size", "task")

    def __init__(self, key: str, size: int, task: Task[T]) -> None:
        self.key = key
        self.size = size
        self.task: Task[T] | None = task  # None after eviction
        # Weak, so that a lease ends when it is not referenced any more; also one that was lost because a signal handler
        # raised before its caller had it.
        self.leases: weakref.WeakSet[Lease[T]] = weakref.WeakSet()
        self.last_used = 0

    @property
    def thing(self) -> T | None:
        """The object, or None before it is loaded."""
        return None if self.task is None else self.task.value

    @property
    def is_loaded(self) -> bool:
        """Whether the object is loaded."""
        return self.task is not None and self.task.has_ended and not self.task.has_failed

    @property
    def is_idle(self) -> bool:
        """Whether the object is loaded and not in use."""
        return self.is_loaded and not self.uses

    @property
    def is_over(self) -> bool:
        """Whether loading failed, or was never started because its caller was interrupted."""
        task = self.task
        return task is None or task.has_failed or not (task.has_begun or self.uses)

    @property
    def uses(self) -> int:
        """Number of leases; counted one by one, because the cleanup of the weak set can be interrupted."""
        while True:
            try:
                return sum(1 for _ in self.leases)
            except RuntimeError:  # the set changed: a signal handler took or released a lease
                continue


@final
class Lease(Generic[T]):
    """Keeps one object loaded until :meth:`release`, or until the lease is not referenced any more."""

    def __init__(self, pool: Pool[T], entry: _Entry[T]) -> None:
        self._pool = pool
        self._entry: _Entry[T] | None = entry
        self._thing: T | None = entry.thing
        self._generation = pool.generation

    @property
    def thing(self) -> T:
        """The thing."""
        if self._thing is None:
            raise RuntimeError("expected a lease of a loaded object")
        return self._thing

    @property
    def is_forgotten(self) -> bool:
        """Whether this process was forked after the lease was taken, so that it does not count any more."""
        return self._generation != self._pool.generation

    def release(self) -> None:
        """Release the lease. A second call does nothing."""
        # Keep no reference: an error that is raised during loading refers to this lease.
        entry, self._entry = self._entry, None
        if entry is not None:
            self._pool._release(self, entry)  # noqa: SLF001 - the other half of that class

    def _load(self, seconds: float) -> None:
        """Wait until the object is loaded."""
        if self._thing is None and self._entry is not None and self._entry.task is not None:
            self._thing = self._entry.task.result(seconds)

    def _may_load(self) -> None:
        if self._entry is not None and self._entry.task is not None:
            self._entry.task.may_begin()


@final
class Pool(ForkAware, Generic[T]):
    """Objects that are loaded on demand, within a budget of bytes. Threads may share it.

    Args:
        budget: Maximum total of the estimated sizes, in bytes; None for no limit.
        evicted: Called with key and estimated size of each evicted object, after it was destroyed.
    """

    def __init__(self, budget: int | None, evicted: Callable[[str, int], None]) -> None:
        self._budget = budget
        self._evicted = evicted
        self._entries: dict[str, _Entry[T]] = {}
        self._leaving: dict[_Entry[T], float] = {}  # being destroyed, since when
        self._ticks = 0
        # A plain lock, not a Condition, which stays locked if a signal handler raises in it.
        self._lock = threading.RLock()
        self._freed = Signal()
        self._is_closed = False
        self.generation = 0  # increased in each child of fork
        self.evictions: Counter[str] = Counter()
        at_fork(self)

    def lease(self, key: str, size: int, load: Callable[[], Task[T]], seconds: float) -> Lease[T]:
        """Return a lease of the object ``key``; load the object if necessary. Waits at most ``seconds``.

        Args:
            key: Name of the object.
            size: Its estimated size in bytes.
            load: Returns the task that loads it; called once, however many threads ask.
            seconds: How long to wait for memory and for the task, together.

        Raises:
            MemoryBudgetError: The object is larger than the budget, or objects in use left no memory in time.
            LoadTimeout: The task did not end in time. It continues, and the next caller waits for the same task.
            ManagerClosedError: The pool was closed.
            BaseException: The error of the task; the next caller starts a new one.
        """
        if self._budget is not None and size > self._budget:
            raise MemoryBudgetError(f"{key}: expected to take at most the budget of {self._budget} bytes, found {size}")
        deadline = time.monotonic() + seconds
        evicted: list[_Entry[T]] = []
        attempt = functools.partial(self._try_lease, key, size, load, evicted)
        lease = self._freed.wait_until(attempt, min(seconds, POLL_SECONDS))
        if lease is None:
            gc.collect()  # a lease may be kept only by the frames of an error that a caller kept
            lease = self._freed.wait_until(attempt, deadline - time.monotonic())
        if lease is None:
            raise MemoryBudgetError(self._no_room(key, size))
        try:
            self._destroy(evicted)
        finally:
            if evicted:
                lease._may_load()  # noqa: SLF001 - only now: until then evicted objects used the memory
        try:
            lease._load(max(0.0, deadline - time.monotonic()))  # noqa: SLF001 - the other half of that class
        except BaseException:
            lease.release()
            raise
        return lease

    def _try_lease(self, key: str, size: int, load: Callable[[], Task[T]], evicted: list[_Entry[T]]) -> Lease[T] | None:
        """Return a lease of a loaded or loading object; None if there is no memory. ``evicted`` collects evictions."""
        with self._lock:
            self._settle()
            self._expect_open()
            return self._lease_of(key, size, load, evicted)

    def _lease_of(self, key: str, size: int, load: Callable[[], Task[T]], evicted: list[_Entry[T]]) -> Lease[T] | None:
        while True:
            entry = self._entries.get(key)
            if entry is None:
                if not self._make_room(size, evicted):
                    return None
                task = load()
                if evicted:
                    task.may_begin(_PATIENCE)
                entry = self._entries.setdefault(key, _Entry(key, size, task))
            lease = Lease(self, entry)
            entry.leases.add(lease)
            # A signal handler that calls the pool as well may have evicted it before it was in use.
            if self._entries.get(key) is entry:
                self._touch(entry)
                return lease

    def _settle(self) -> None:
        """Drop entries that are finished, even if no caller is left to do so."""
        for entry, since in list(self._leaving.items()):
            if time.monotonic() - since > _PATIENCE:  # the thread that destroys it was interrupted, or hangs
                self._leaving.pop(entry, None)
        for entry in self._all():
            # In a closed pool: objects that were loaded after their callers stopped waiting.
            if entry.is_over or (self._is_closed and entry.is_idle):
                self._drop(entry)

    def _make_room(self, size: int, evicted: list[_Entry[T]]) -> bool:
        """Evict the least recently used objects until there is enough memory; return whether there is."""
        if self._budget is None:
            return True
        taken = sum(entry.size for entry in (*self._all(), *self._leaving))
        idle = self._idle()
        # Do not evict in vain: objects in use may take so much that no eviction helps.
        if taken - sum(entry.size for entry in idle) + size > self._budget:
            return False
        for entry in idle:
            if taken + size <= self._budget:
                break
            if self._let_go(entry):
                evicted.append(entry)
            taken -= entry.size
        return True

    # Loops with conditions stand outside of `with`: see the end of `batching_backend`.
    def _idle(self) -> list[_Entry[T]]:
        """Return the objects that are loaded and not in use, least recently used first."""
        return sorted((entry for entry in self._all() if entry.is_idle), key=lambda entry: entry.last_used)

    def _all(self) -> list[_Entry[T]]:
        """Return a list: a signal handler that calls the pool as well may change the dict."""
        return list(self._entries.values())

    def _let_idle_go(self) -> list[_Entry[T]]:
        return [entry for entry in self._idle() if self._let_go(entry)]

    def _unfinished(self) -> list[Task[T]]:
        return [entry.task for entry in self._all() if entry.task is not None and not entry.is_loaded]

    def _residents(self) -> list[Resident]:
        entries = sorted(self._all(), key=lambda entry: entry.last_used)
        return [Resident(key=entry.key, size=entry.size, uses=entry.uses) for entry in entries if entry.is_loaded]

    def _let_go(self, entry: _Entry[T]) -> bool:
        """Start evicting an object; return False if a signal handler that interrupted this thread has done so."""
        if not self._drop(entry):
            return False
        self._leaving[entry] = time.monotonic()
        return True

    def _drop(self, entry: _Entry[T]) -> bool:
        return self._entries.get(entry.key) is entry and self._entries.pop(entry.key, None) is entry

    def _no_room(self, key: str, size: int) -> str:
        others = ", ".join(f"{entry.key} ({entry.size} bytes)" for entry in self._all())
        return (
            f"{key}: expected {size} free bytes in the budget of {self._budget} within the deadline, "
            f"found them taken by models in use: {others}"
        )

    def _release(self, lease: Lease[T], entry: _Entry[T]) -> None:
        evicted: list[_Entry[T]] = []
        with self._lock:
            entry.leases.discard(lease)
            self._touch(entry)
            if self._is_closed and entry.is_idle and self._let_go(entry):
                evicted.append(entry)
            self._settle()
        self._freed.notify()
        self._destroy(evicted)

    def _touch(self, entry: _Entry[T]) -> None:
        self._ticks += 1
        entry.last_used = self._ticks

    def evict(self, key: str) -> bool:
        """Evict an object now, unless it is in use or not loaded; return whether it was evicted."""
        with self._lock:
            self._settle()
            entry = self._entries.get(key)
            if entry is None or not entry.is_idle or not self._let_go(entry):
                return False
        self._destroy([entry])
        return True

    def close(self) -> None:
        """Evict all objects, those in use as soon as they are released, and refuse further loads."""
        with self._lock:
            self._is_closed = True
            evicted = self._let_idle_go()
            unfinished = self._unfinished()
        self._destroy(evicted)
        for task in unfinished:
            task.afterwards(self._drop_what_came_late)

    def _drop_what_came_late(self) -> None:
        """Drop objects that were loaded after their callers stopped waiting and the pool was closed."""
        with self._lock:
            self._settle()

    def residents(self) -> list[Resident]:
        """Return the loaded objects, least recently used first, without those that are loading."""
        with self._lock:
            self._settle()
            return self._residents()

    @property
    def reserved(self) -> int:
        """Estimated bytes of all objects that are loaded or loading."""
        with self._lock:
            return sum(entry.size for entry in self._all())

    def _expect_open(self) -> None:
        if self._is_closed:
            raise ManagerClosedError(CLOSED)

    def _destroy(self, entries: list[_Entry[T]]) -> None:
        """Destroy evicted objects outside of the lock, because that may take long, and report each."""
        for entry in entries:
            entry.task = None
            self._leaving.pop(entry, None)
            self._freed.notify()
            self.evictions[entry.key] += 1
            self._evicted(entry.key, entry.size)

    def after_fork_in_child(self) -> None:
        """Keep the loaded objects, and drop the leases and running tasks of the parent.

        Leases of threads that do not exist in the child would never end. A task that a thread of the parent was running
        never ends, and must not be destroyed.
        """
        self._lock = threading.RLock()
        self._freed = Signal()
        self._leaving = {}
        self.generation += 1
        for entry in self._all():
            for lease in entry.leases:
                lease._thing = None  # noqa: SLF001 - a lease of the parent must keep nothing loaded
            entry.leases = weakref.WeakSet()
            if not entry.is_loaded:
                never_destroy(entry, entry.task)
                del self._entries[entry.key]
