"""The right to run: for so many at once, and woken when it is free. Sessions are tested with their backend."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.support.waiting import until
from thoth_models.backends.batching import batches
from thoth_models.process import signals

pytestmark = pytest.mark.onnx
SECONDS = 30.0


def test_a_thread_waits_until_a_slot_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = pytest.importorskip("thoth_models.backends.onnx_sessions")
    monkeypatch.setattr(signals, "POLL_SECONDS", 4 * SECONDS)
    slots = sessions._Slots(2)
    taken = [slots.wait()]
    taken[0].acquire()
    taken.append(slots.wait())
    taken[1].acquire()
    assert taken[0] is not taken[1]
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(slots.wait()), daemon=True)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    taken[1].release()
    slots.notify()
    waiting.join(SECONDS)
    assert found == [taken[1]]


def test_no_thread_is_woken_while_no_slot_is_free() -> None:
    sessions = pytest.importorskip("thoth_models.backends.onnx_sessions")
    slots = sessions._Slots(1)
    with slots.wait():
        slots.notify()
        assert slots._freed._notifications.empty()
    slots.notify()
    assert not slots._freed._notifications.empty()


def test_slots_that_are_freed_before_a_waiting_thread_has_run(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = pytest.importorskip("thoth_models.backends.onnx_sessions")
    monkeypatch.setattr(signals, "POLL_SECONDS", 4 * SECONDS)
    slots, done = sessions._Slots(2), threading.Event()

    def work() -> None:
        with slots.wait():
            slots.notify()
            done.wait(SECONDS)

    for lock in slots.locks:
        lock.acquire()
    threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join(0.2)
    for lock in slots.locks:
        lock.release()
    slots.notify()  # once: two notifications before a thread has run count as one
    until(lambda: all(lock.locked() for lock in slots.locks), SECONDS)
    done.set()
    for thread in threads:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in threads)


class _FakeGraph:
    """A graph whose sessions record how each run was computed: with how many threads, and whether memory is returned."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, bool]] = []

    def session(self, count: int) -> object:
        runs = self.runs

        class Session:
            def run(self, _names: object, _arrays: object, options: Any) -> list[object]:
                try:
                    returned = options.get_run_config_entry("memory.enable_memory_arena_shrinkage")
                except RuntimeError:  # no such entry
                    returned = ""
                assert returned in ("", "cpu:0")
                runs.append((count, bool(returned)))
                return [None]

        return Session()


@pytest.mark.parametrize(("callers", "threads"), [(0, 2), (2, 1)])
def test_only_long_texts_return_their_memory(callers: int, threads: int) -> None:
    numpy = pytest.importorskip("numpy")
    sessions = pytest.importorskip("thoth_models.backends.onnx_sessions")
    graph = _FakeGraph()
    made = sessions.Sessions(graph, 2)
    made._callers = {-number: 1 for number in range(callers)}
    for shape in ((64, 100), (1, sessions._LONG), (1, sessions._LONG + 1)):
        made.run({"input_ids": numpy.zeros(shape)})
    assert graph.runs == [(threads, False), (threads, False), (threads, True)]


@pytest.mark.parametrize(("lengths", "threads"), [([8_192], 2), ([1_000], 2), ([8_192] * 2, 1), ([10] * 8, 2)])
def test_a_lone_caller_uses_all_threads(lengths: list[int], threads: int) -> None:
    """In one run if there are fewer texts than threads, and in a run for each thread if there are enough."""
    numpy = pytest.importorskip("numpy")
    sessions = pytest.importorskip("thoth_models.backends.onnx_sessions")
    graph = _FakeGraph()
    made = sessions.Sessions(graph, 2)
    with made.calling(lengths) as (workers, _):
        made.run({"input_ids": numpy.zeros((1, lengths[0]))})
    assert (workers, graph.runs[0][0]) == (2 // threads, threads)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([8] * 15, 1),  # fewer than 64 tokens for each thread
        ([8] * 16, 2),
        ([100] + [5] * 10, 1),  # one text is more than the share of a thread
        ([75] * 2, 2),
        ([12] * 50, 4),
        ([12] * 1000, 64),
    ],
)
def test_a_lone_callers_texts_are_divided_evenly_among_threads(lengths: list[int], expected: int) -> None:
    sessions = pytest.importorskip("thoth_models.backends.onnx_sessions")
    made = sessions.Sessions(_FakeGraph(), 2)
    with made.calling(lengths) as (workers, most_tokens):
        runs = list(batches(lengths, most_tokens=most_tokens))
    assert workers == min(expected, 2)
    if workers > 1:
        assert len(runs) <= expected
        shares = [sum(map(len, runs[thread::2])) for thread in range(2)]
        assert max(shares) - min(shares) <= max(2, len(lengths) // 10)
