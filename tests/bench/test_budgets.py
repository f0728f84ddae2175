from __future__ import annotations

import pytest

from bench.budgets import BUDGETS, judge
from bench.images import DOCKER_BUILD, IMAGE
from bench.parts import BUILD_REWRITTEN, BUILD_SECONDS, BUILDER, LARGE_MEMORY, VERIFY, VERIFY_SHARE
from bench.results import FIRST_VECTOR, PSS_FOUR, RSS, throughput
from bench.subjects import SUBJECTS
from tests.bench.runs import MACHINE, OLDER, empty_results, make_results, scaled, without

SHORT = throughput("short", 1, 1)


def test_a_run_that_is_good_enough_meets_every_budget() -> None:
    missed = [verdict.budget.what for verdict in judge(make_results()) if not verdict.is_met]
    assert missed == []


def test_a_slow_machine_is_judged_by_ratios() -> None:
    missed = [verdict.budget for verdict in judge(make_results(slowness=3)) if not verdict.is_met]
    assert [(budget.metric, budget.unit) for budget in missed] == [(BUILD_SECONDS, "s")]


@pytest.mark.parametrize(
    ("metric", "subject", "factor", "missed"),
    [
        (FIRST_VECTOR, "mini/onnx-fp32", 1.3, 1),  # still below 0.45 of fastembed
        (FIRST_VECTOR, "mini/onnx-fp32", 2.0, 2),
        (FIRST_VECTOR, "mini/torch-fp32", 1.05, 1),
        (SHORT, "mini/onnx-fp32", 0.8, 1),
        (SHORT, "mini/onnx-int8", 0.8, 1),
        (SHORT, "mini/torch-fp32", 0.9, 1),
        (RSS, "mini/onnx-fp32", 1.2, 1),
        (RSS, "mini/torch-fp32", 1.3, 1),
        (PSS_FOUR, "mini/onnx-fp32", 2, 1),
        (PSS_FOUR, "synthetic-multilingual/onnx-fp32", 1.3, 1),
        (VERIFY_SHARE, VERIFY, 0.9, 1),
        (BUILD_SECONDS, BUILDER, 2, 1),
        (LARGE_MEMORY, BUILDER, 6, 1),
    ],
)
def test_what_gets_worse_misses_its_budget(metric: str, subject: str, factor: float, missed: int) -> None:
    verdicts = judge(scaled(make_results(), subject, metric, factor))
    assert len([verdict for verdict in verdicts if not verdict.is_met]) == missed


def test_budgets_are_those_of_the_processor() -> None:
    old, new = judge(make_results(machine=OLDER)), judge(make_results())
    of_each = [{one.budget.what: one.budget.limit for one in verdicts} for verdicts in (old, new)]
    assert of_each[0].keys() == of_each[1].keys()
    changed = {what: limit for what, limit in of_each[0].items() if limit != of_each[1][what]}
    assert changed == {
        "encode throughput, onnx-fp32 / sentence-transformers": 1.4,
        "encode throughput, onnx-int8 / sentence-transformers": 2.3,
    }
    slow = scaled(make_results(machine=OLDER), "mini/onnx-int8", SHORT, 0.5)
    assert all(one.is_met for one in judge(slow)), "2.75 times is enough without AVX-512"


def test_a_processor_that_nobody_set_a_figure_for_is_not_judged_by_it() -> None:
    found = judge(make_results(machine={**MACHINE, "instructions": []}))
    assert not any(verdict.budget.metric == SHORT and "onnx" in verdict.budget.subject for verdict in found)
    assert len(found) > 15


def test_one_file_rewritten_is_too_many() -> None:
    results = without(make_results(), BUILDER, BUILD_REWRITTEN)
    for repetition in range(3):
        results.add(BUILD_REWRITTEN, BUILDER, repetition, 1)
    (missed,) = [verdict for verdict in judge(results) if not verdict.is_met]
    assert missed.budget.metric == BUILD_REWRITTEN


def test_what_was_not_measured_is_not_met_and_says_why() -> None:
    results = without(make_results(), "mini/fastembed")
    results.fail("", "mini/fastembed", "could not be installed: no such index")
    (missed,) = [verdict for verdict in judge(results) if not verdict.is_met]
    assert missed.spread is None
    assert "could not be installed: no such index" in missed.reason


def test_nothing_measured_meets_nothing() -> None:
    assert not any(verdict.is_met for verdict in judge(empty_results()))


def test_budgets_name_subjects_that_exist() -> None:
    known = {subject.name for subject in SUBJECTS} | {VERIFY, BUILDER, IMAGE, DOCKER_BUILD}
    named = {budget.subject for budget in BUDGETS} | {budget.against[1] for budget in BUDGETS if budget.against}
    assert named <= known
