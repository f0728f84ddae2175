"""Medians with their spread, and ratios that are taken pair by pair. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """The median of some values, and how far they lie apart.

    Attributes:
        median: The middle value.
        low: First quartile: a quarter of the values lie below it.
        high: Third quartile: a quarter of the values lie above it.
        count: Number of values.
    """

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return median and quartiles; the quartiles are interpolated between the values, none of which is left out.

        Raises:
            ValueError: There are no values.
        """
        if not values:
            raise ValueError("expected at least one value, found none")
        if len(values) == 1:
            return cls(median=values[0], low=values[0], high=values[0], count=1)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median=median, low=low, high=high, count=len(values))


def ratios(numerators: Mapping[int, float], denominators: Mapping[int, float], times: float = 1.0) -> list[float]:
    """Return ``numerator / (times * denominator)`` of each repetition that has both.

    The two values of a repetition were measured within seconds of each other, so what slowed the machine down for a
    while is in both, and cancels out; in a ratio of two medians it would not.
    """
    common = sorted(set(numerators) & set(denominators))
    return [numerators[repetition] / (times * denominators[repetition]) for repetition in common]
