from __future__ import annotations

import pytest

from bench.compare import alike, caveats, compare
from bench.parts import BUILD_SECONDS, BUILDER, LARGE_MEMORY, VERIFY, VERIFY_SHARE
from bench.results import CALLERS, FIRST_VECTOR, PSS_FOUR, Results, throughput
from tests.bench.runs import MACHINE, OLDER, make_results, scaled, without

MIXED = throughput("mixed", CALLERS, CALLERS)


def past_their_trigger(new: Results) -> list[str]:
    return [change.what for change in compare(make_results(), new) if change.is_too_much]


def test_the_same_figures_pass() -> None:
    assert past_their_trigger(make_results()) == []
    assert len(compare(make_results(), make_results())) > 40


def test_another_machine_is_no_change() -> None:
    assert past_their_trigger(make_results(slowness=4)) == []


@pytest.mark.parametrize(
    ("metric", "subject", "fine", "too_much"),
    [
        (FIRST_VECTOR, "mini/onnx-fp32", 1.19, 1.21),
        (FIRST_VECTOR, "synthetic-multilingual/onnx-fp32", 1.19, 1.21),
        (MIXED, "mini/onnx-int8", 1 / 1.19, 1 / 1.21),
        (PSS_FOUR, "mini/torch-fp32", 1.49, 1.51),
        (VERIFY_SHARE, VERIFY, 1 / 1.19, 1 / 1.21),
        (BUILD_SECONDS, BUILDER, 1.19, 1.21),
    ],
)
def test_a_change_counts_from_its_trigger_on(metric: str, subject: str, fine: float, too_much: float) -> None:
    assert past_their_trigger(scaled(make_results(), subject, metric, fine)) == []
    (found,) = past_their_trigger(scaled(make_results(), subject, metric, too_much))
    assert metric in found


def test_getting_better_is_never_too_much() -> None:
    new = scaled(make_results(), "mini/onnx-fp32", FIRST_VECTOR, 0.1)
    assert past_their_trigger(scaled(new, "mini/onnx-fp32", MIXED, 10)) == []


def test_a_peer_that_gets_slower_is_not_our_regression() -> None:
    assert past_their_trigger(scaled(make_results(), "mini/fastembed", FIRST_VECTOR, 3)) == []


def test_what_cannot_be_measured_any_more_is_too_much() -> None:
    found = past_their_trigger(without(make_results(), "mini/onnx-int8"))
    assert found
    assert all("onnx-int8" in what for what in found)


def test_what_is_new_is_no_change() -> None:
    old = without(make_results(), "mini/onnx-int8")
    assert not any(change.is_too_much for change in compare(old, make_results()))


def test_memory_of_the_builder_below_its_floor_is_noise() -> None:
    assert past_their_trigger(scaled(make_results(), BUILDER, LARGE_MEMORY, 1.8)) == []
    assert past_their_trigger(scaled(make_results(), BUILDER, LARGE_MEMORY, 1.9)) == [LARGE_MEMORY]


def test_like_is_compared_with_like() -> None:
    older, other = make_results(machine=OLDER), make_results(machine={**MACHINE, "processor": "A Third One"})
    here = make_results()
    assert alike([older, other, here], make_results(slowness=2)) is here
    assert alike([older, other], here) is other, "not the same machine, but the same kind of processor"
    assert alike([older], here) is None
    more = make_results(machine={**OLDER, "instructions": ["avx2", "fma"]})
    assert alike([here, more], older) is more


def test_what_makes_runs_hard_to_compare_is_said() -> None:
    assert caveats(make_results(), make_results()) == []
    assert "quick" in caveats(make_results(), make_results(is_quick=True))[0]
    (found,) = caveats(make_results(), make_results(machine={**MACHINE, "cores": 8}))
    assert found == "cores: 2 before, 8 now"
