"""Read what ``nox -s bench`` stores, and give the ratios to sentence-transformers for the models of a bundle. Pure.

Absolute figures differ from machine to machine. So a ratio is taken within each repetition, in which both were measured
together, and the median of these is shown (docs/benchmarks.md).
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from thoth_models_builder.errors import UsageError

if TYPE_CHECKING:
    from thoth_models.bundle.manifest import Manifest

MAX_RESULTS_SIZE: Final = 64 * 1024 * 1024
"""Largest file of results, in bytes; a run of everything has 200 kB."""

METRICS: Final = {
    "first vector": "time to the first vector",
    "rss of 1": "memory of one process",
    "pss of 4": "memory of four processes",
    "throughput of short texts, one caller": "texts per second",
}
"""The metrics that are shown, as ``bench`` names them, with the heading of each. Only of the last is more better."""

_REFERENCE: Final = "raw"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """Median of the ratios to sentence-transformers, with the first and the third quartile."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredVariant:
    """A variant: ``model/variant``, and a ratio for each of :data:`METRICS`, or None where it was not measured."""

    name: str
    ratios: tuple[Ratio | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PageRun:
    """One run on one machine.

    Attributes:
        machine: The machine in words.
        started: When, in UTC.
        is_quick: Whether it was cut short.
        bundles: Digest of the bundle that was measured, for each model, if it is another one than that of the page.
        variants: What was measured of the variants of this bundle; empty if nothing was.
    """

    machine: str
    started: str
    is_quick: bool
    bundles: tuple[tuple[str, str], ...]
    variants: tuple[MeasuredVariant, ...]


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Bundle(_Lenient):
    bundle_digest: str
    space: str | None = None


class _Measurement(_Lenient):
    metric: str
    subject: str
    repetition: int
    value: float


class _Run(_Lenient):
    name: str
    started: str
    is_quick: bool
    bundles: dict[str, _Bundle]
    measurements: list[_Measurement]


class _Results(_Lenient):
    version: Literal[2]
    runs: list[_Run]


def page_runs(data: bytes, manifest: Manifest, bundle_digest: str) -> tuple[PageRun, ...]:
    """Return the runs in a file of results; of each, what it says about variants of this bundle.

    A model counts if the run measured the same embedding space: those are the same weights.

    Raises:
        UsageError: The file is not what ``nox -s bench`` stores.
    """
    if len(data) > MAX_RESULTS_SIZE:
        raise UsageError(f"expected results of at most {MAX_RESULTS_SIZE} bytes, found more")
    try:
        results = _Results.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise UsageError(f"{where}: expected results of `nox -s bench` of version 2, found: {first['msg']}") from error
    return tuple(_run(run, manifest, bundle_digest) for run in results.runs)


def _run(run: _Run, manifest: Manifest, bundle_digest: str) -> PageRun:
    values: dict[tuple[str, str], dict[int, float]] = {}
    for one in run.measurements:
        values.setdefault((one.metric, one.subject), {})[one.repetition] = one.value
    variants, others = [], []
    for name, model in sorted(manifest.models.items()):
        measured = run.bundles.get(name)
        if model.built is None or measured is None or measured.space != model.built.space.hex:
            continue
        found = [
            MeasuredVariant(name=f"{name}/{variant.name}", ratios=ratios)
            for variant in model.built.variants
            for ratios in [tuple(_ratio(values, metric, name, variant.name) for metric in METRICS)]
            if any(ratios)
        ]
        variants += found
        if found and measured.bundle_digest != bundle_digest:
            others.append((name, measured.bundle_digest))
    return PageRun(
        machine=run.name,
        started=run.started,
        is_quick=run.is_quick,
        bundles=tuple(others),
        variants=tuple(variants),
    )


def _ratio(values: dict[tuple[str, str], dict[int, float]], metric: str, model: str, variant: str) -> Ratio | None:
    ours = values.get((metric, f"{model}/{variant}"), {})
    reference = values.get((metric, f"{model}/{_REFERENCE}"), {})
    found = [ours[repetition] / reference[repetition] for repetition in sorted(ours) if reference.get(repetition)]
    if not found:
        return None
    if len(found) == 1:
        return Ratio(median=found[0], low=found[0], high=found[0])
    low, median, high = statistics.quantiles(found, n=4, method="inclusive")
    return Ratio(median=median, low=low, high=high)
