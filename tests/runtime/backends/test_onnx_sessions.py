"""The right to run: for so many at once, and woken when it is free. Sessions are tested with their backend."""

from __future__ import annotations

import subprocess
import sys
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
    """A graph whose sessions record how a run was computed: with how many threads, and whether memory is returned."""

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
    made = sessions.Sessions(graph, graph.session(2), graph.session(1), 2)
    made._callers = {-number: 1 for number in range(callers)}
    for shape in ((64, 100), (1, sessions._LONG), (1, sessions._LONG + 1)):
        made.run({"input_ids": numpy.zeros(shape)})
    assert graph.runs == [(threads, False), (threads, False), (threads, True)]


MEMORY_OF_LONG_TEXTS = """
import re
import numpy
import onnx
from onnx import TensorProto, helper
from thoth_models.backends.onnx_sessions import Graph, Sessions

def memory(name):
    return int(re.search(name + r":\\s*([0-9]+) kB", open("/proc/self/status").read())[1]) / 1024

def layers(count):
    # Each layer has shorter vectors, so that it does not take over the memory of the one before as it is.
    for layer in range(count):
        yield helper.make_node("Expand", ["states", f"shape{layer}"], [f"wide{layer}"])
        yield helper.make_node("Transpose", [f"wide{layer}"], [f"turned{layer}"], perm=[0, 2, 1])
        yield helper.make_node("Transpose", [f"turned{layer}"], [f"back{layer}"], perm=[0, 2, 1])
        yield helper.make_node("Concat", [f"back{layer}", f"wide{layer}"], [f"both{layer}"], axis=2)
        yield helper.make_node("ReduceMean", [f"both{layer}", "axis"], [f"mean{layer}"], keepdims=1)
        yield helper.make_node("Add", [f"mean{layer}", "sum" if layer == 0 else f"sum{layer - 1}"], [f"sum{layer}"])

count = 24
constants = {f"shape{layer}": numpy.array([1, 3000, 500 - layer]) for layer in range(count)}
constants |= {"axis": numpy.array([-1]), "ends": numpy.array([1]), "inner": numpy.array([2])}
first = [
    helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT),
    helper.make_node("Unsqueeze", ["numbers", "inner"], ["states"]),
    helper.make_node("Identity", ["states"], ["sum"]),
]
last = helper.make_node("ReduceSum", [f"sum{count - 1}", "ends"], ["sentence_embedding"], keepdims=0)
graph = helper.make_graph(
    [*first, *layers(count), last],
    "layers",
    [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
    [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", 1])],
    [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
graph = Graph(model=model.SerializeToString(), weights={}, precision="fp32")
sessions = Sessions(graph, graph.session(2), graph.session(1), 2)
arrays = {"input_ids": numpy.ones((1, 3000), numpy.int64)}
before = memory("RssAnon")
open("/proc/self/clear_refs", "w").write("5")
sessions.run(arrays)
print(memory("VmHWM") - memory("VmRSS"), memory("RssAnon") - before)
"""
"""Layers with at most four times 6 MB of vectors at once."""


def test_a_long_text_takes_the_memory_of_one_layer_and_leaves_none() -> None:
    """glibc does not find a freed aligned block again, so that without an arena every layer takes new ones."""
    pytest.importorskip("onnx")
    done = subprocess.run([sys.executable, "-c", MEMORY_OF_LONG_TEXTS], capture_output=True, text=True, check=True)
    most, left = map(float, done.stdout.split())
    assert most < 40
    assert left < 10


MEMORY_OF_MANY_LENGTHS = """
import re
import numpy
import onnx
from onnx import numpy_helper, parser
from thoth_models.backends.onnx_sessions import Graph, Sessions

def memory():
    return int(re.search(r"RssAnon:\\s*([0-9]+) kB", open("/proc/self/status").read())[1]) / 1024

model = parser.parse_model('''<ir_version: 10, opset_import: ["" : 20]>
g (int64[batch, tokens] input_ids) => (float[batch, 500] sentence_embedding) {
    numbers = Cast <to = 1> (input_ids)
    states = Unsqueeze (numbers, inner)
    wide = Expand (states, shape)
    bent = Softmax <axis = 1> (wide)
    both = Add (bent, wide)
    largest = ReduceMax <keepdims = 0> (both)
    row = Cast <to = 7> (largest)
    moved = Gather (table, row)
    vectors = Add (both, moved)
    sentence_embedding = ReduceMean <keepdims = 0> (vectors, ends)
}''')
constants = {"shape": [1, 1, 500], "inner": [2], "ends": [1], "table": numpy.zeros(2, numpy.float32)}
model.graph.initializer.extend(numpy_helper.from_array(numpy.array(value), name) for name, value in constants.items())
graph = Graph(model=model.SerializeToString(), weights={}, precision="fp32")
sessions = Sessions(graph, graph.session(2), graph.session(1), 2)
sessions.run({"input_ids": numpy.zeros((1, 9), numpy.int64)})
left = [memory()]
for length, fails in zip(numpy.random.default_rng(0).integers(2_049, 8_000, 24), 12 * [False, True]):
    # Without a row for its tokens, a run fails at the end.
    try:
        sessions.run({"input_ids": numpy.full((1, length), 5 * fails)})
    except Exception:
        assert fails
    else:
        assert not fails
    left.append(memory())
print(max(left) - left[0])
"""


def test_long_texts_of_any_length_leave_no_memory_even_if_they_fail() -> None:
    """onnxruntime returns memory to glibc, which would keep 50 to 100 MB of these runs."""
    pytest.importorskip("onnx")
    done = subprocess.run([sys.executable, "-c", MEMORY_OF_MANY_LENGTHS], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 15


@pytest.mark.parametrize(("lengths", "threads"), [([8_192], 2), ([1_000], 2), ([8_192] * 2, 1), ([10] * 8, 2)])
def test_a_lone_caller_uses_all_threads(lengths: list[int], threads: int) -> None:
    """In one run if there are fewer texts than threads, and in a run for each thread if there are enough."""
    numpy = pytest.importorskip("numpy")
    sessions = pytest.importorskip("thoth_models.backends.onnx_sessions")
    graph = _FakeGraph()
    made = sessions.Sessions(graph, graph.session(2), graph.session(1), 2)
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
    graph = _FakeGraph()
    made = sessions.Sessions(graph, graph.session(2), graph.session(1), 2)
    with made.calling(lengths) as (workers, most_tokens):
        runs = list(batches(lengths, most_tokens=most_tokens))
    assert workers == min(expected, 2)
    if workers > 1:
        assert len(runs) <= expected
        shares = [sum(map(len, runs[thread::2])) for thread in range(2)]
        assert max(shares) - min(shares) <= max(2, len(lengths) // 10)
