"""A backend that a child loads again: what it costs, what is checked, and what happens when that fails."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.bundles import FakeBackend
from thoth_models import BackendError, LoadTimeout
from thoth_models.backends.fork_safe import ForkSafeBackend
from thoth_models.process.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from thoth_models.types import Backend, FloatArray


class Reload(Task["Backend"]):
    """Loading again, as a test wants it."""

    def __init__(self, do: Callable[[], Backend], seconds: float = 30) -> None:
        super().__init__("loading again", seconds)
        self._do = do

    def do(self) -> Backend:
        return self._do()


def encode(backend: ForkSafeBackend) -> FloatArray:
    return backend.encode(["a", "b"], prompt=None, batch_size=None, show_progress_bar=False)


def forked(backend: ForkSafeBackend) -> ForkSafeBackend:
    """Do to a backend in this process what a fork does to it in the child."""
    backend.after_fork_in_child()
    return backend


def test_the_process_that_made_a_backend_uses_it() -> None:
    first = FakeBackend()
    backend = ForkSafeBackend(first, lambda: pytest.fail("loaded again without a fork"))
    assert encode(backend).shape == (2, 8)
    assert first.texts == ["a", "b"]


def test_a_child_loads_once_however_many_threads_ask() -> None:
    made: list[FakeBackend] = []
    together = threading.Barrier(5, timeout=30)
    first = FakeBackend()

    def load() -> Backend:
        time.sleep(0.2)
        made.append(FakeBackend())
        return made[-1]

    backend = forked(ForkSafeBackend(first, lambda: Reload(load)))
    results: list[FloatArray] = []

    def work() -> None:
        together.wait()
        results.append(encode(backend))

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(made) == 1
    assert len(results) == 5
    assert len(made[0].texts) == 10
    assert first.texts == []
    encode(forked(backend))
    assert len(made) == 2


def test_what_was_inherited_is_never_destroyed() -> None:
    first = FakeBackend()
    backend = ForkSafeBackend(first, lambda: Reload(FakeBackend))
    before = sys.getrefcount(first)
    forked(backend)
    # One that the backend held went, one that nobody ever gives back came.
    assert backend._backend is None
    assert sys.getrefcount(first) == before


def test_a_lock_that_was_held_is_not_waited_for() -> None:
    backend = ForkSafeBackend(FakeBackend(), lambda: Reload(FakeBackend))
    with backend._lock:
        forked(backend)
        assert encode(backend).shape == (2, 8)


def test_a_failure_is_raised_and_the_next_call_tries_again() -> None:
    outcomes = iter([BackendError("not now"), None])

    def load() -> Backend:
        if (error := next(outcomes)) is not None:
            raise error
        return FakeBackend()

    backend = forked(ForkSafeBackend(FakeBackend(), lambda: Reload(load)))
    with pytest.raises(BackendError, match="not now"):
        encode(backend)
    assert encode(backend).shape == (2, 8)


def test_a_load_that_hangs_ends_at_its_deadline_and_is_not_begun_twice() -> None:
    release = threading.Event()
    begun: list[int] = []

    def a_library_that_hangs() -> Backend:
        begun.append(1)
        release.wait(60)
        return FakeBackend()

    backend = forked(ForkSafeBackend(FakeBackend(), lambda: Reload(a_library_that_hangs, 0.2)))
    for _ in range(2):
        with pytest.raises(LoadTimeout, match=r"loading again did not finish within 0\.2 s") as caught:
            encode(backend)
        assert "a_library_that_hangs" in caught.value.stacks
    release.set()
    deadline = time.monotonic() + 30
    while backend._task is not None and not backend._task.has_ended and time.monotonic() < deadline:
        time.sleep(0.01)
    assert encode(backend).shape == (2, 8)
    assert begun == [1]


def test_the_vectors_of_a_child_are_those_of_its_parent() -> None:
    backend = ForkSafeBackend(FakeBackend(), lambda: Reload(FakeBackend))
    before = encode(backend)
    assert np.array_equal(encode(forked(backend)), before)
