"""The plot of a run, as PNG and SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.processors import kind_of
from bench.results import FIRST_VECTOR, PSS_FOUR, RSS, throughput
from bench.subjects import MINI, subjects_of

if TYPE_CHECKING:
    from pathlib import Path

    from bench.results import Results

_UNUSUAL = "thoth-models-prepacked"
"""Not a usual configuration; only shown in the table."""

_OURS, _OTHERS = "#1f6f8b", "#b0b7bd"
_PANELS = (
    (FIRST_VECTOR, 1.0, "new process to first vector, s", "less is better"),
    (throughput("short", 1, 1), 1.0, "short texts per second, one caller", "more is better"),
    (RSS, 1e6, "RSS of one process, MB", "less is better"),
    (PSS_FOUR, 1e6, "PSS of four processes, MB", "less is better"),
)


def draw(results: Results, targets: list[Path]) -> None:
    """Draw medians with quartiles of the real model's subjects, into files whose names end in .png or .svg."""
    import matplotlib as mpl  # noqa: PLC0415 - needed for this alone, and nothing else waits for it

    mpl.use("Agg")
    # The same figures give the same file: element names of an SVG are random otherwise.
    mpl.rcParams.update({"svg.hashsalt": "thoth-models", "font.size": 9})
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after its backend was chosen

    figure, axes = plt.subplots(2, 2, figsize=(10, 6), layout="constrained")
    for axis, (metric, scale, title, direction) in zip(axes.flat, _PANELS, strict=True):
        _draw_panel(axis, results, metric, scale)
        axis.set_title(f"{title} ({direction})", fontsize=9)
    machine = results.machine
    quick = "quick run, " if results.is_quick else ""
    figure.suptitle(
        f"all-MiniLM-L6-v2, {quick}{machine['processor']}, {machine['cores']} cores, {kind_of(machine)}; "
        "medians and quartiles",
        fontsize=10,
    )
    for target in targets:
        metadata = {"Date": None} if target.suffix == ".svg" else {"Software": None}
        figure.savefig(target, dpi=150, metadata=metadata)
    plt.close(figure)


def _draw_panel(axis: Any, results: Results, metric: str, scale: float) -> None:  # noqa: ANN401 - matplotlib's Axes
    subjects = [subject for subject in subjects_of(MINI)[::-1] if subject.loader != _UNUSUAL]
    axis.set_yticks(range(len(subjects)), [subject.title for subject in subjects])
    for place, subject in enumerate(subjects):
        spread = results.spread(metric, subject.name)
        if spread is None:
            axis.text(0, place, " failed", va="center", color="#a33")
            continue
        median = spread.median / scale
        errors = [[median - spread.low / scale], [spread.high / scale - median]]
        axis.barh(place, median, xerr=errors, color=_OURS if subject.is_ours else _OTHERS, ecolor="#333")
        axis.text(median, place + 0.28, f" {median:,.3g}" if median < 10 else f" {median:,.0f}", fontsize=7)  # noqa: PLR2004
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(x=0.12)
