from __future__ import annotations

import pytest

from bench.markdown import number, rows, with_spread
from bench.spread import Spread


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0512, "", "0.051"),
        (5.5, "s", "5.50 s"),
        (12.34, "", "12.3"),
        (1234.5, "", "1,234"),
        (3, "files", "3 files"),
        (199_400_000, "bytes", "199 MB"),
    ],
)
def test_figures_have_about_three_digits(value: float, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_a_median_comes_with_its_quartiles_unless_there_is_one_value_only() -> None:
    assert with_spread(Spread(median=2.5, low=2.25, high=3, count=5), "s") == "2.50 s (2.25 s to 3 s)"
    assert with_spread(Spread(median=2.5, low=2.5, high=2.5, count=1)) == "2.50"


def test_a_table_has_a_line_for_each_row_and_escapes_what_divides_cells() -> None:
    assert rows(["", "a"], [["x | y", "1"]]) == ["|  | a |", "|---|---|", "| x \\| y | 1 |"]
