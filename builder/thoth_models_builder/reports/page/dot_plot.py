"""Place a dot for each golden text on a scale of cosines. Pure.

What matters is how far a cosine is from 1, over several powers of ten: an fp32 variant is 0.000001 away from its
reference, an int8 variant 0.001. So the scale is logarithmic in that distance, and cosines that are 1 to all recorded
decimals have a place of their own at its end.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STEP: Final = 1e-5
"""The smallest distance from 1 that is recorded: cosines have 5 decimals."""

_LEFT: Final = 3.0
_RIGHT: Final = 82.0
_EXACT: Final = 92.0
"""Places, in percent of the width: the lowest cosine of the scale, 0.99999, and the middle of the dots at 1.00000."""

_BINS: Final = 10
"""Places for stacks in each power of ten."""

_SPACING: Final = 5.0
"""Distance between the centres of two dots, in pixels."""

_COLUMNS: Final = 8
"""Dots side by side at 1.00000. With more, they would leave the page on a narrow screen."""

_MIN_STACK: Final = 8
_MAX_STACK: Final = 24
"""Dots above each other for which a row has space, however few or many there are."""

_LABEL: Final = 24.0
_GAP: Final = 16.0
_AXIS: Final = 24.0
"""Heights in pixels: the label above a row, the space below it, and the axis."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dot:
    """One golden text.

    Attributes:
        x: Place of its stack, in percent of the width.
        dx: Distance from there, in pixels.
        y: Distance from the top, in pixels.
        number: Number of the text, from 1.
        cosine: Its cosine.
    """

    x: float
    dx: float
    y: float
    number: int
    cosine: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One variant.

    Attributes:
        name: Name of the variant.
        worst: Its lowest cosine.
        top: Upper end of the row of dots, in pixels; its label is above it.
        base: Lower end.
        gate: Place of the cosine that it had to reach, in percent of the width; None if it had none.
        dots: In the order of the texts.
    """

    name: str
    worst: float
    top: float
    base: float
    gate: float | None
    dots: tuple[Dot, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DotPlot:
    """A plot whose width is that of the page.

    Attributes:
        height: In pixels.
        ticks: Places in percent of the width, each with its label; an empty label is a line without one.
        rows: One for each variant.
    """

    height: float
    ticks: tuple[tuple[float, str], ...]
    rows: tuple[Row, ...]


def dot_plot(cosines: Mapping[str, Sequence[float]], gates: Mapping[str, float]) -> DotPlot:
    """Return the plot of the cosines of each variant, which are not empty, with the gates of some of them."""
    distances = [1 - value for values in (*cosines.values(), tuple(gates.values())) for value in values]
    decades = math.ceil(math.log10(min(max(*distances, 10 * _STEP), 1)) - 1e-9)  # 0 is a cosine of 0, -1 one of 0.9

    def place(cosine: float) -> float:
        distance = min(1 - cosine, 10.0**decades)
        if distance < _STEP / 2:
            return _EXACT
        share = (decades - math.log10(max(distance, _STEP))) / (decades - math.log10(_STEP))
        return round(_LEFT + share * (_RIGHT - _LEFT), 3)

    bins = _BINS * round(decades - math.log10(_STEP))
    width = (_RIGHT - _LEFT) / bins

    def stack_of(cosine: float) -> float:
        x = place(cosine)
        return x if x == _EXACT else round(_LEFT + round((x - _LEFT) / width) * width, 3)

    rows, top = [], 0.0
    for name, values in cosines.items():
        places = [(stack_of(value), value) for value in values]
        counts = Counter(x for x, _ in places)
        needed = [math.ceil(counts.pop(_EXACT, 0) / _COLUMNS), *(min(count, _MAX_STACK) for count in counts.values())]
        height = max(_MIN_STACK, *needed)
        base = top + _LABEL + height * _SPACING
        rows.append(
            Row(
                name=name,
                worst=min(values),
                top=top + _LABEL,
                base=base,
                gate=place(gates[name]) if name in gates else None,
                dots=_stacked(places, base, height),
            )
        )
        top = base + _GAP
    ticks = [(place(1 - 10.0**power), _label(power)) for power in range(decades, -6, -1)]
    return DotPlot(height=top + _AXIS, ticks=(*ticks, (_EXACT, "1.00000")), rows=tuple(rows))


def _stacked(places: Sequence[tuple[float, float]], base: float, height: int) -> tuple[Dot, ...]:
    """Stack dots of the same place from below, beside each other where they are more than a row has space for."""
    counts = Counter(x for x, _ in places)
    seen: Counter[float] = Counter()
    dots = []
    for number, (x, cosine) in enumerate(places, 1):
        column, level = divmod(seen[x], height)
        seen[x] += 1
        columns = math.ceil(counts[x] / height)
        dots.append(
            Dot(
                x=x,
                dx=(column - (columns - 1) / 2) * _SPACING,
                y=base - (level + 0.5) * _SPACING,
                number=number,
                cosine=cosine,
            )
        )
    return tuple(dots)


def _label(power: int) -> str:
    if power == round(math.log10(_STEP)):
        return ""  # its label would meet that of 1.00000 on a narrow screen
    return "0" if power == 0 else f"{1 - 10.0**power:.{-power}f}"
