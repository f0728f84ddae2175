from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.spread import Spread, ratios

VALUES = st.lists(st.floats(0.001, 1e9), min_size=1, max_size=30)


def test_the_median_is_the_middle_and_the_quartiles_are_between() -> None:
    assert Spread.of([5, 1, 3, 2, 4]) == Spread(median=3, low=2, high=4, count=5)


def test_one_value_has_no_spread() -> None:
    assert Spread.of([7.0]) == Spread(median=7, low=7, high=7, count=1)


def test_no_value_is_an_error() -> None:
    with pytest.raises(ValueError, match="found none"):
        Spread.of([])


@given(VALUES)
def test_the_quartiles_enclose_the_median_and_lie_among_the_values(values: list[float]) -> None:
    spread = Spread.of(values)
    slack = 1e-9 * max(values)
    assert min(values) - slack <= spread.low <= spread.median + slack
    assert spread.median - slack <= spread.high <= max(values) + slack


def test_ratios_are_taken_within_a_repetition() -> None:
    # The machine was twice as slow in the second repetition, for both.
    assert ratios({0: 1.0, 1: 2.0}, {0: 4.0, 1: 8.0}) == [0.25, 0.25]


def test_a_repetition_that_lacks_a_side_has_no_ratio() -> None:
    assert ratios({0: 1.0, 2: 3.0}, {1: 5.0, 2: 6.0}) == [0.5]


def test_the_denominator_may_be_counted_several_times() -> None:
    assert ratios({0: 8.0}, {0: 4.0}, times=4) == [0.5]
