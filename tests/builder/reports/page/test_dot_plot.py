"""Where the dots of the accuracy plot are."""

from __future__ import annotations

import pytest

from thoth_models_builder.reports.page.dot_plot import DotPlot, dot_plot


def places(*cosines: float, gate: float = 0.95) -> list[float]:
    (row,) = dot_plot({"v": cosines}, {"v": gate}).rows
    return [dot.x for dot in row.dots]


def test_each_power_of_ten_of_the_distance_has_the_same_width() -> None:
    first, second, third, exact = places(0.9, 0.99, 0.999, 1.0)
    assert second - first == pytest.approx(third - second, abs=0.01)
    assert first < second < third < exact


def test_a_cosine_of_one_to_all_decimals_has_a_place_of_its_own() -> None:
    almost, exact = places(0.99999, 1.0)
    assert exact - almost > 5


def test_a_dot_is_at_most_half_a_stack_from_its_cosine() -> None:
    plot = dot_plot({"v": (0.9951,)}, {"v": 0.95})
    ticks = {label: x for x, label in plot.ticks}
    step = ticks["0.999"] - ticks["0.99"]
    # log10(0.01 / 0.0049) is 0.31 of the way from 0.99 to 0.999
    assert plot.rows[0].dots[0].x == pytest.approx(ticks["0.99"] + 0.31 * step, abs=step / 20)


def test_the_scale_begins_below_everything_that_is_shown() -> None:
    assert [label for _, label in dot_plot({"v": (0.9951,)}, {"v": 0.95}).ticks] == [
        *("0.9", "0.99", "0.999", "0.9999", "", "1.00000")
    ]
    assert dot_plot({"v": (0.9999999,)}, {"v": 0.99999}).ticks[0][1] == "0.9999"
    assert dot_plot({"v": (0.3,)}, {}).ticks[0][1] == "0"


def test_a_cosine_below_zero_is_at_the_left_end() -> None:
    plot = dot_plot({"v": (-1.0, 0.0, 0.5)}, {})
    assert [dot.x for dot in plot.rows[0].dots][:2] == [plot.ticks[0][0]] * 2


def test_texts_of_one_place_are_stacked_in_their_order() -> None:
    (row,) = dot_plot({"v": (0.99, 0.99, 0.5)}, {}).rows
    assert [dot.number for dot in row.dots] == [1, 2, 3]
    assert row.dots[1].y == row.dots[0].y - 5
    assert row.dots[2].y == row.dots[0].y


@pytest.mark.parametrize("count", [1, 64, 300])
def test_no_two_dots_lie_on_each_other_and_none_leaves_its_row(count: int) -> None:
    for cosine in (1.0, 0.99):
        (row,) = dot_plot({"v": (cosine,) * count}, {}).rows
        assert len({(dot.x, dot.dx, dot.y) for dot in row.dots}) == count
        assert all(row.top <= dot.y <= row.base for dot in row.dots)


def test_hundreds_of_texts_at_one_are_no_wider_than_a_narrow_screen_allows() -> None:
    (row,) = dot_plot({"v": (1.0,) * 300}, {}).rows
    assert max(abs(dot.dx) for dot in row.dots) <= 20


def test_rows_do_not_touch_and_the_axis_is_below_them() -> None:
    plot: DotPlot = dot_plot({"a": (1.0,) * 64, "b": (0.99,) * 30, "c": (1.0,)}, {"b": 0.9})
    assert [row.name for row in plot.rows] == ["a", "b", "c"]
    for upper, lower in zip(plot.rows, plot.rows[1:], strict=False):
        assert upper.base + 20 < lower.top
    assert plot.rows[-1].base + 20 < plot.height
    assert [row.gate is None for row in plot.rows] == [True, False, True]
    assert [row.worst for row in plot.rows] == [1.0, 0.99, 1.0]
