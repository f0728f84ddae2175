"""The budgets of the design as data, and whether a run met them. Pure.

What of the design's table is measured is here. A row with several figures becomes several budgets, and one whose
figure depends on the processor becomes one for each kind. More were set with the compiled variants, the images and the
manager: that threads calling at once lose nothing, what many small calls at once gain, and what four processes, or
containers, of a large model may take.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.images import CONTAINER_PSS, CONTAINERS_PSS, DOCKER_BUILD, IMAGE, LAYER_RATE
from bench.parts import BUILD_REWRITTEN, BUILD_SECONDS, BUILDER, LARGE_MEMORY, VERIFY, VERIFY_SHARE
from bench.processors import AVX2, AVX512, kind_of
from bench.results import (
    CALLERS,
    FIRST_VECTOR,
    PROCESSES,
    PSS,
    PSS_FOUR,
    RSS,
    SINGLE_CALLERS,
    SINGLES,
    SINGLES_AT_ONCE,
    throughput,
)
from bench.shape_runs import LONG, LONG_PEAK
from bench.shapes import SHAPES
from bench.subjects import MINI, REFERENCE, SYNTHETIC

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.results import Results
    from bench.shapes import Shape
    from bench.spread import Spread


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """One figure that the design sets.

    Attributes:
        what: What it is about.
        metric: What is measured.
        subject: Of whom.
        against: Metric and subject that it is divided by, repetition by repetition; None for a figure of its own.
        times: Multiplies what it is divided by.
        limit: The figure.
        at_most: Whether less is better.
        unit: Of the figure; empty for a ratio.
        processors: The kind that it is for, of :mod:`bench.machine`; None for all.
    """

    what: str
    metric: str
    subject: str
    against: tuple[str, str] | None
    times: float = 1.0
    limit: float
    at_most: bool
    unit: str = ""
    processors: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A budget and what was measured.

    Attributes:
        budget: The budget.
        spread: Of the figure, or None where it could not be measured.
        is_met: Whether the median meets the limit; False where nothing was measured.
        reason: Why nothing was measured, or empty.
    """

    budget: Budget
    spread: Spread | None
    is_met: bool
    reason: str

    def to_table(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


_FP32, _INT8, _TORCH = (f"{MINI}/{variant}" for variant in ("onnx-fp32", "onnx-int8", "torch-fp32"))
_MANAGED_FP32, _MANAGED_TORCH = f"{_FP32}-manager", f"{_TORCH}-manager"
_FASTEMBED = f"{MINI}/fastembed"
_SYNTHETIC_FP32 = f"{SYNTHETIC}/onnx-fp32"
_SHORT = throughput("short", 1, 1)
_MIXED = throughput("mixed", 1, CALLERS)


def _against_raw(what: str, metric: str, subject: str, limit: float, *, at_most: bool) -> Budget:
    """Return the budget of a figure of a subject, divided by that of sentence-transformers with the same model."""
    raw = f"{subject.partition('/')[0]}/{REFERENCE}"
    return Budget(what=what, metric=metric, subject=subject, against=(metric, raw), limit=limit, at_most=at_most)


def _faster(what: str, subject: str, limits: dict[str, float]) -> tuple[Budget, ...]:
    """Return the budget of a throughput for each kind of processor: matrices are as fast as its instructions."""
    return tuple(
        replace(_against_raw(what, _SHORT, subject, limit, at_most=False), processors=kind)
        for kind, limit in limits.items()
    )


BUDGETS = (
    _against_raw(
        "new process to first vector, verified, onnx-fp32 / sentence-transformers",
        FIRST_VECTOR,
        _FP32,
        1 / 20,
        at_most=True,
    ),
    Budget(
        what="new process to first vector, verified, onnx-fp32 / fastembed on the same weights",
        metric=FIRST_VECTOR,
        subject=_FP32,
        against=(FIRST_VECTOR, _FASTEMBED),
        limit=0.45,
        at_most=True,
    ),
    *_faster("encode throughput, onnx-fp32 / sentence-transformers", _FP32, {AVX512: 2.2, AVX2: 1.4}),
    *_faster("encode throughput, onnx-int8 / sentence-transformers", _INT8, {AVX512: 5, AVX2: 2.3}),
    _against_raw("encode throughput, torch-fp32 / sentence-transformers", _SHORT, _TORCH, 0.95, at_most=False),
    _against_raw(
        "new process to first vector, torch-fp32 / sentence-transformers", FIRST_VECTOR, _TORCH, 1.05, at_most=True
    ),
    _against_raw(
        "encode throughput, torch-fp32 through EmbeddingManager / sentence-transformers",
        _SHORT,
        _MANAGED_TORCH,
        0.95,
        at_most=False,
    ),
    _against_raw(
        "resident memory after load, torch-fp32 through EmbeddingManager / sentence-transformers",
        RSS,
        _MANAGED_TORCH,
        1.2,
        at_most=True,
    ),
    Budget(
        what=f"single texts through EmbeddingManager, {SINGLE_CALLERS} callers at once / one by one, onnx-fp32",
        metric=SINGLES_AT_ONCE,
        subject=_MANAGED_FP32,
        against=(SINGLES, _MANAGED_FP32),
        limit=2.0,
        at_most=False,
    ),
    _against_raw("resident memory after load, torch-fp32 / sentence-transformers", RSS, _TORCH, 1.2, at_most=True),
    _against_raw("resident memory after load, onnx-fp32 / sentence-transformers", RSS, _FP32, 0.35, at_most=True),
    _against_raw(
        "four processes together (PSS), onnx-fp32 / four of sentence-transformers", PSS_FOUR, _FP32, 0.22, at_most=True
    ),
    Budget(
        what="mixed texts, eight threads calling at once / one caller making the same calls, onnx-fp32",
        metric=throughput("mixed", CALLERS, CALLERS),
        subject=_FP32,
        against=(_MIXED, _FP32),
        limit=1.0,
        at_most=False,
    ),
    Budget(
        what="four processes together / four times one (PSS), onnx-fp32 of the synthetic 471 MB shape",
        metric=PSS_FOUR,
        subject=_SYNTHETIC_FP32,
        against=(PSS, _SYNTHETIC_FP32),
        times=PROCESSES,
        limit=0.45,
        at_most=True,
    ),
    Budget(
        what="four containers of one image / four times one (PSS), onnx-fp32 of the synthetic 471 MB shape",
        metric=CONTAINERS_PSS,
        subject=IMAGE,
        against=(CONTAINER_PSS, IMAGE),
        times=PROCESSES,
        limit=0.45,
        at_most=True,
    ),
    Budget(
        what="write the layers of a bundle, verified / docker build with COPY of the same bytes",
        metric=LAYER_RATE,
        subject=IMAGE,
        against=(LAYER_RATE, DOCKER_BUILD),
        limit=4.0,
        at_most=False,
    ),
    Budget(
        what="verify a bundle, warm page cache / cores x one core's hashlib sha256 rate",
        metric=VERIFY_SHARE,
        subject=VERIFY,
        against=None,
        limit=0.85,
        at_most=False,
    ),
    Budget(
        what="build with nothing to do, whole process",
        metric=BUILD_SECONDS,
        subject=BUILDER,
        against=None,
        limit=1.0,
        at_most=True,
        unit="s",
    ),
    Budget(
        what="build with nothing to do, files rewritten",
        metric=BUILD_REWRITTEN,
        subject=BUILDER,
        against=None,
        limit=0,
        at_most=True,
        unit="files",
    ),
    Budget(
        what="builder memory for a 4 GB file, above its idle",
        metric=LARGE_MEMORY,
        subject=BUILDER,
        against=None,
        limit=200e6,
        at_most=True,
        unit="bytes",
    ),
)


_LONG_MEMORY = ("bge-m3", "qwen3-600m")
"""Shapes with a budget for the memory of a long text; the table has it of each."""


def _of_shape(shape: Shape) -> Iterator[Budget]:
    name, tokens = shape.name, f"{shape.long_tokens:,} tokens"
    for variant, limit in (("onnx-fp32", 1.2), ("onnx-int8", 2.0)):
        what = f"{name}: encode throughput, {variant} / sentence-transformers"
        yield _against_raw(what, _SHORT, f"{name}/{variant}", limit, at_most=False)
    fp32 = f"{name}/onnx-fp32"
    if shape.is_for_fastembed:
        what = f"{name}: short texts one by one, onnx-fp32 / fastembed"
        against = (SINGLES, f"{name}/fastembed")
        yield Budget(what=what, metric=SINGLES, subject=fp32, against=against, limit=1.2, at_most=False)
    what = f"{name}: one text of {tokens}, onnx-fp32 / sentence-transformers"
    yield _against_raw(what, LONG, fp32, 1.0, at_most=False)
    if name not in _LONG_MEMORY:
        return
    yield Budget(
        what=f"{name}: memory for one text of {tokens}, onnx-fp32, above the loaded model",
        metric=LONG_PEAK,
        subject=fp32,
        against=None,
        limit=400e6,
        at_most=True,
        unit="bytes",
    )


SHAPE_BUDGETS = tuple(budget for shape in SHAPES.values() for budget in _of_shape(shape))


def judge(results: Results, budgets: Sequence[Budget] = BUDGETS) -> list[Verdict]:
    """Return what a run has to say of each budget that is for its machine."""
    kind = kind_of(results.machine)
    return [_judge(budget, results) for budget in budgets if budget.processors in (None, kind)]


def judge_shapes(results: Results) -> list[Verdict]:
    """Return what a run has to say of the budgets of the shapes that it measured."""
    measured = results.models
    return judge(results, [budget for budget in SHAPE_BUDGETS if budget.subject.partition("/")[0] in measured])


def _judge(budget: Budget, results: Results) -> Verdict:
    measured = (budget.metric, budget.subject)
    if budget.against is None:
        spread = results.spread(*measured)
    else:
        spread = results.ratio(measured, budget.against, budget.times)
    if spread is None:
        sides = [measured] if budget.against is None else [measured, budget.against]
        missing = [(metric, subject) for metric, subject in sides if not results.values(metric, subject)]
        reason = "; ".join(f"{subject}: {results.reason(subject, metric)}" for metric, subject in missing)
        return Verdict(budget=budget, spread=None, is_met=False, reason=reason or "no repetition has both sides")
    is_met = spread.median <= budget.limit if budget.at_most else spread.median >= budget.limit
    return Verdict(budget=budget, spread=spread, is_met=is_met, reason="")
