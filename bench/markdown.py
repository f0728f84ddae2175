"""Figures and tables as Markdown. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.spread import Spread

_DECIMALS = ((100, 0), (10, 1), (1, 2))
"""From which value on a figure has how many decimals; a smaller one has three."""


def number(value: float, unit: str = "") -> str:
    """Return a figure with about three digits, and its unit; bytes become megabytes of a million bytes."""
    if unit == "bytes":
        return f"{value / 1e6:,.0f} MB"
    decimals = 0 if value == int(value) else next((count for least, count in _DECIMALS if value >= least), 3)
    return f"{value:,.{decimals}f}{' ' + unit if unit else ''}"


def with_spread(spread: Spread, unit: str = "") -> str:
    """Return a median with its quartiles, as ``median (low to high)``; a single value alone."""
    if spread.count == 1:
        return number(spread.median, unit)
    return f"{number(spread.median, unit)} ({number(spread.low, unit)} to {number(spread.high, unit)})"


def rows(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table, from its head and its rows; a ``|`` in a cell is escaped."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in body)]
