"""Two releases beside each other: whether the new one is slower, with a rule about noise."""

from __future__ import annotations

import math
import statistics
import time
from typing import TYPE_CHECKING

from gates.request import FAILURES, why
from gates.verdict import BEYOND, UNMEASURED, WITHIN, UnmeasuredError, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gates.request import Request

BLOCK = 10
"""Requests to each side whose times are added up. One slow request in ten counts then, as it would not in a median."""
LOOKS = (10, 20, 40, 80)
"""Numbers of blocks after which a decision is tried."""
ERROR = 0.005
"""Chance that one look errs to one side: at most 2 % over the four looks."""


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Return between which of the ratios their true median lies, each end wrong with a chance of at most ``ERROR``.

    By order statistics, so whatever the times are distributed like: how many of n independent ratios are below the true
    median is binomial, n times one half.
    """
    ordered, count = sorted(ratios), len(ratios)
    below, chance = 0, 0.5**count
    while chance + math.comb(count, below + 1) * 0.5**count <= ERROR:
        below += 1
        chance += math.comb(count, below) * 0.5**count
    return ordered[below], ordered[count - 1 - below]


def judge_ratios(ratios: Sequence[float], max_slower: float) -> Verdict | None:
    """Return whether the new release is slow, or None where that is not certain yet."""
    low, high = interval(ratios)
    middle = statistics.median(ratios)
    figures = {"ratio": round(middle, 3), "ratio_low": round(low, 3), "ratio_high": round(high, 3)}
    said = f"the new release takes {middle:.2f} x the time of the old one ({low:.2f} to {high:.2f})"
    if high <= 1 + max_slower:
        return Verdict(WITHIN, f"{said}, the limit is {1 + max_slower:.2f}", figures)
    if low > 1 + max_slower:
        return Verdict(BEYOND, f"{said}, the limit is {1 + max_slower:.2f}", figures)
    return None


def compare(blocks: Iterator[tuple[float, float]], max_slower: float) -> Verdict:
    """Take blocks (the seconds of the old, and of the new release) until a decision is certain, or there are enough."""
    old, new = [], []
    for before, after in blocks:
        old.append(before)
        new.append(after)
        if len(old) not in LOOKS:
            continue
        ratios = [after / before for before, after in zip(old, new, strict=True)]
        verdict = judge_ratios(ratios, max_slower)
        seconds = {"seconds_old": statistics.mean(old) / BLOCK, "seconds_new": statistics.mean(new) / BLOCK}
        figures = {"requests_each": len(old) * BLOCK, **{name: round(mean, 5) for name, mean in seconds.items()}}
        if verdict is not None:
            return Verdict(verdict.code, verdict.reason, {**figures, **verdict.figures})
        if len(old) == LOOKS[-1]:
            low, high = interval(ratios)
            reason = f"not certain after {len(old) * BLOCK} requests each: {low:.2f} to {high:.2f} x the time"
            return Verdict(UNMEASURED, f"{reason}, the limit is {1 + max_slower:.2f}", figures)
    raise UnmeasuredError(f"expected {LOOKS[0]} blocks of requests in the time there was, found {len(old)}")


def timed_blocks(old: Request, new: Request, within: float) -> Iterator[tuple[float, float]]:
    """Yield the seconds of block after block, of requests to both sides in turn, after one that is not counted."""
    deadline = time.monotonic() + within
    for block in range(1 + LOOKS[-1]):
        seconds = [0.0, 0.0]
        for number in range(BLOCK):
            if time.monotonic() > deadline:
                return
            # Which side is first alternates, so that neither always comes after the other.
            for side in (0, 1) if number % 2 else (1, 0):
                request, started = (old, new)[side], time.monotonic()
                try:
                    request.send(block * BLOCK + number)
                except FAILURES as error:
                    raise UnmeasuredError(f"{request.url}: expected a right answer, found {why(error)}") from error
                seconds[side] += time.monotonic() - started
        if block:
            yield seconds[0], seconds[1]
