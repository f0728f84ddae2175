"""Figures and tables as Markdown. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.spread import Spread

_SMALL = 10


def number(value: float, unit: str = "") -> str:
    """Return a figure with three digits or so, in a unit that suits it."""
    if unit == "bytes":
        return f"{value / 1e6:,.0f} MB"
    digits = 0 if value >= 100 or value == int(value) else 1 if value >= _SMALL else 2 if value >= 1 else 3  # noqa: PLR2004
    return f"{value:,.{digits}f}{' ' + unit if unit else ''}"


def with_spread(spread: Spread, unit: str = "") -> str:
    """Return a median with its quartiles."""
    if spread.count == 1:
        return number(spread.median, unit)
    return f"{number(spread.median, unit)} ({number(spread.low, unit)} to {number(spread.high, unit)})"


def rows(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in body)]
