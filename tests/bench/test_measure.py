"""Which process is asked for what; every process is a fake."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.cells import PRODUCT
from bench.materials import Materials
from bench.measure import Bench
from bench.processes import SubjectError
from bench.results import SINGLES, SINGLES_AT_ONCE, throughput
from bench.subjects import MINI, Places, subjects_of
from tests.bench.runs import FakeWorker, empty_results

if TYPE_CHECKING:
    from pathlib import Path


class _Worker(FakeWorker):
    def encode(self, texts: Path, callers: int, calls: int) -> float:
        if self.subject.way == "openvino" and callers > 1:
            raise SubjectError("Infer Request is busy")
        return 2.0 if callers == 1 else 0.5

    def product(self) -> float:
        if self.subject.way != "raw":
            raise AssertionError("expected a process that has torch")
        return 1e11


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(Bench, "start", lambda _, subject: _Worker(subject))
    materials = Materials(Places(work=tmp_path))
    return Bench(materials=materials, results=empty_results(), threads=2, log_progress=lambda _: None)


def test_every_subject_answers_single_texts_and_some_answer_many_callers_at_once(bench: Bench) -> None:
    bench.measure_singles(MINI, 2, ["a", "b", "c", "d"])
    for subject in subjects_of(MINI):
        assert bench.results.values(SINGLES, subject.name) == {0: 2.0, 1: 2.0}
    found = {subject.way for subject in subjects_of(MINI) if bench.results.values(SINGLES_AT_ONCE, subject.name)}
    assert found == {"onnx-fp32", "onnx-fp32-manager"}
    assert not bench.results.failures


def test_plain_products_are_measured_in_each_repetition_of_throughput(bench: Bench) -> None:
    texts = {kind: ["a", "b"] for kind in ("short", "long", "mixed")}
    bench.measure_throughput(MINI, 3, texts, texts)
    assert bench.results.values(PRODUCT, "mini/raw") == {0: 1e11, 1: 1e11, 2: 1e11}
    assert bench.results.values(throughput("long", 8, 8), "mini/fastembed") == {0: 4.0, 1: 4.0, 2: 4.0}
    assert bench.results.reason("mini/openvino", throughput("long", 8, 8)) == "Infer Request is busy"
