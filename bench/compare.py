"""Whether a run is worse than an older one. Pure.

Machines differ, and one machine differs from hour to hour, so seconds and bytes are not compared. What is compared is
the ratio of each variant to plain sentence-transformers of the same run and the same model. What has no such
counterpart is divided by the time that sentence-transformers took to its first vector, as a measure of the machine;
memory of the builder is compared as it is. The ratios themselves depend on the instruction sets of the processor, so a
run is compared with one of the same machine, or of a machine of the same kind, and with no other.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.parts import BUILD_SECONDS, BUILDER, LARGE_MEMORY, VERIFY, VERIFY_SHARE
from bench.processors import kind_of, name_of
from bench.results import (
    FIRST_VECTOR,
    KINDS,
    PSS,
    PSS_FOUR,
    RSS,
    RSS_FOUR,
    SINGLES,
    SINGLES_AT_ONCE,
    WAYS,
    throughput,
)
from bench.subjects import MINI, REFERENCE, SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.results import Results

SLOWER = 1.2
"""Trigger: this many times the time, or one part in so many of the throughput."""

MORE_MEMORY = 1.5
"""Trigger: this many times the memory."""

MEMORY_FLOOR = 50e6
"""Bytes of the builder's memory below which a change is noise of the allocator."""

TIMES = (FIRST_VECTOR,)
RATES = tuple(throughput(kind, *way) for kind in KINDS for way in WAYS)
MEMORIES = (RSS, PSS, RSS_FOUR, PSS_FOUR)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One figure of two runs.

    Attributes:
        what: Which figure.
        before: In the older run.
        after: In the newer run; None where it is missing there.
        worse: How many times as bad it has become; below 1 it is better.
        trigger: From how much on that is too much.
    """

    what: str
    before: float
    after: float | None
    worse: float
    trigger: float

    @property
    def is_too_much(self) -> bool:
        """Whether it is past the trigger; what cannot be measured any more is."""
        return self.after is None or self.worse > self.trigger


@dataclass(frozen=True, kw_only=True, slots=True)
class _Figure:
    what: str
    value: float
    is_rate: bool
    trigger: float


def alike(runs: Sequence[Results], new: Results) -> Results | None:
    """Return the run to compare a new one with: of the same machine, or else of the same kind of processor."""
    for same in (name_of, kind_of):
        for run in runs:
            if same(run.machine) == same(new.machine):
                return run
    return None


def compare(old: Results, new: Results) -> list[Change]:
    """Return every figure that the older run has, and what became of it."""
    after = {figure.what: figure for figure in _figures(new)}
    return [_change(figure, after.get(figure.what)) for figure in _figures(old)]


def _change(before: _Figure, after: _Figure | None) -> Change:
    worse = 0.0
    if after is not None:
        worse = before.value / after.value if before.is_rate else after.value / before.value
    value = None if after is None else after.value
    return Change(what=before.what, before=before.value, after=value, worse=worse, trigger=before.trigger)


def _figures(results: Results) -> Iterator[_Figure]:
    for subject in (subject for subject in SUBJECTS if subject.is_ours):
        reference = f"{subject.model}/{REFERENCE}"
        for metric in (*TIMES, *RATES, *MEMORIES):
            spread = results.ratio((metric, subject.name), (metric, reference))
            if spread is not None:
                trigger = MORE_MEMORY if metric in MEMORIES else SLOWER
                what = f"{subject.name}: {metric}, to {REFERENCE}"
                yield _Figure(what=what, value=spread.median, is_rate=metric in RATES, trigger=trigger)
        gain = results.ratio((SINGLES_AT_ONCE, subject.name), (SINGLES, subject.name))
        if gain is not None:
            what = f"{subject.name}: {SINGLES_AT_ONCE}, to {SINGLES}"
            yield _Figure(what=what, value=gain.median, is_rate=True, trigger=SLOWER)
    share = results.spread(VERIFY_SHARE, VERIFY)
    if share is not None:
        yield _Figure(what=VERIFY_SHARE, value=share.median, is_rate=True, trigger=SLOWER)
    yardstick = results.values(FIRST_VECTOR, f"{MINI}/{REFERENCE}")
    build = results.spread(BUILD_SECONDS, BUILDER)
    if build is not None and yardstick:
        value = build.median / statistics.median(yardstick.values())
        what = f"{BUILD_SECONDS}, to the first vector of {REFERENCE}"
        yield _Figure(what=what, value=value, is_rate=False, trigger=SLOWER)
    memory = results.spread(LARGE_MEMORY, BUILDER)
    if memory is not None:
        value = max(memory.median, MEMORY_FLOOR)
        yield _Figure(what=LARGE_MEMORY, value=value, is_rate=False, trigger=MORE_MEMORY)


def caveats(old: Results, new: Results) -> list[str]:
    """Return what makes two runs hard to compare."""
    found = []
    if old.is_quick or new.is_quick:
        found.append("a quick run takes part, whose figures are for trying things out")
    found += [
        f"{key}: {old.machine.get(key)} before, {new.machine.get(key)} now"
        for key in ("processor", "instructions", "cores", "python")
        if old.machine.get(key) != new.machine.get(key)
    ]
    return found
