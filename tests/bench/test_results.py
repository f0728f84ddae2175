from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.cli import RESULTS
from bench.processors import AVX512, kind_of, name_of
from bench.results import FIRST_VECTOR, RSS, beside, read_runs, to_json
from bench.spread import Spread
from tests.bench.runs import MACHINE, OLDER, empty_results, make_results, without

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    runs = [make_results(), make_results(machine=OLDER)]
    runs[0].fail(RSS, "mini/openvino", "no memory")
    file = tmp_path / "results.json"
    file.write_text(to_json([run.to_document([]) for run in runs]), encoding="utf-8")
    assert read_runs(file) == runs


def test_every_single_measurement_is_in_the_file() -> None:
    results = make_results()
    (document,) = json.loads(to_json([results.to_document([])]))["runs"]
    assert len(document["measurements"]) == len(results.measurements)
    assert {"metric", "subject", "repetition", "value"} == set(document["measurements"][0])
    first = next(one for one in document["summary"] if one["subject"] == "mini/raw" and one["metric"] == FIRST_VECTOR)
    assert (first["median"], first["count"]) == (5.5, 3)
    assert document["name"] == "Some Processor, 2 cores (avx2, avx512f, avx512_vnni)"


def test_a_run_takes_the_place_of_one_of_the_same_machine_only() -> None:
    old, other, new = make_results(), make_results(machine=OLDER), make_results(slowness=2)
    assert beside([old, other], new) == [new, other]
    other_size = make_results(machine={**MACHINE, "cores": 8})
    assert beside([old, other], other_size) == [other_size, old, other]


def test_the_committed_runs_are_of_machines_that_are_named() -> None:
    runs = read_runs(RESULTS)
    assert any(kind_of(run.machine) == AVX512 for run in runs)
    assert len({name_of(run.machine) for run in runs}) == len(runs)
    assert not any(run.is_quick for run in runs)


@pytest.mark.parametrize("content", ["[]", "{}", '{"version": 1}', "3"])
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="expected results of version"):
        read_runs(file)


def test_a_ratio_pairs_the_repetitions() -> None:
    results = empty_results()
    for repetition, (ours, theirs) in enumerate([(1.0, 10.0), (4.0, 40.0), (2.0, 20.0)]):
        results.add(FIRST_VECTOR, "mini/onnx-fp32", repetition, ours)
        results.add(FIRST_VECTOR, "mini/raw", repetition, theirs)
    found = results.ratio((FIRST_VECTOR, "mini/onnx-fp32"), (FIRST_VECTOR, "mini/raw"))
    assert found == Spread(median=0.1, low=0.1, high=0.1, count=3)


def test_what_was_not_measured_has_no_figure_but_a_reason() -> None:
    results = without(make_results(), "mini/openvino")
    results.fail("", "mini/openvino", "could not be installed")
    assert results.spread(RSS, "mini/openvino") is None
    assert results.ratio((RSS, "mini/openvino"), (RSS, "mini/raw")) is None
    assert results.reason("mini/openvino", RSS) == "could not be installed"
    assert results.reason("mini/other", RSS) == "not measured"


def test_a_reason_names_files_without_the_directories_of_one_machine() -> None:
    results = empty_results()
    results.fail(
        "", "mini/raw", '/srv/env/bin/python -m x: exit code 1: File "/srv/lib/a.py", line 1; see https://h/a/b'
    )
    assert results.reason("mini/raw", RSS) == 'python -m x: exit code 1: File "a.py", line 1; see https://h/a/b'


def test_the_same_failure_is_recorded_once() -> None:
    results = empty_results()
    for _ in range(3):
        results.fail(RSS, "mini/openvino", "no memory")
    assert len(results.failures) == 1
