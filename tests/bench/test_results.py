from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.results import FIRST_VECTOR, RSS, Results
from bench.spread import Spread
from tests.bench.runs import empty_results, make_results, without

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    results = make_results()
    results.fail(RSS, "mini/openvino", "no memory")
    file = tmp_path / "results.json"
    file.write_text(results.to_json([]), encoding="utf-8")
    assert Results.read(file) == results


def test_every_single_measurement_is_in_the_file() -> None:
    results = make_results()
    document = json.loads(results.to_json([]))
    assert len(document["measurements"]) == len(results.measurements)
    assert {"metric", "subject", "repetition", "value"} == set(document["measurements"][0])
    first = next(one for one in document["summary"] if one["subject"] == "mini/raw" and one["metric"] == FIRST_VECTOR)
    assert (first["median"], first["count"]) == (5.5, 3)


@pytest.mark.parametrize("content", ["[]", "{}", '{"version": 0}', "3"])
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="expected results of version"):
        Results.read(file)


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


def test_the_same_failure_is_recorded_once() -> None:
    results = empty_results()
    for _ in range(3):
        results.fail(RSS, "mini/openvino", "no memory")
    assert len(results.failures) == 1
