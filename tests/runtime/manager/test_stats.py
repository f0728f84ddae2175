"""Numbers by model: added up by many threads, and kept by a child of fork."""

from __future__ import annotations

import json
import threading

from thoth_models.manager.stats import Counters, ManagerStats, ModelStats


def test_numbers_add_up_by_model() -> None:
    counters = Counters()
    assert counters.snapshot() == {}
    counters.add("one", calls=1, texts=3, encode_seconds=0.5)
    counters.add("one", calls=1, texts=4)
    counters.add("two", failures=1)
    assert counters.snapshot() == {
        "one": ModelStats(calls=2, texts=7, encode_seconds=0.5),
        "two": ModelStats(failures=1),
    }


def test_a_snapshot_stays_as_it_is() -> None:
    counters = Counters()
    counters.add("one", calls=1)
    before = counters.snapshot()
    counters.add("one", calls=1)
    assert before["one"].calls == 1


def test_threads_share_them() -> None:
    counters = Counters()

    def work() -> None:
        for _ in range(500):
            counters.add("one", calls=1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.snapshot()["one"].calls == 4000


def test_a_child_of_fork_goes_on_with_them_whatever_was_locked() -> None:
    counters = Counters()
    counters.add("one", calls=1)
    counters._lock.acquire()
    counters.after_fork_in_child()
    counted = threading.Thread(target=counters.add, args=("one",), kwargs={"calls": 1}, daemon=True)
    counted.start()
    counted.join(30)
    assert counters.snapshot()["one"].calls == 2


def test_an_exporter_gets_plain_numbers() -> None:
    stats = ManagerStats(models={"one": ModelStats(calls=2)}, memory_budget=None, reserved_bytes=5)
    assert json.loads(json.dumps(stats.as_dict()))["models"]["one"]["calls"] == 2
