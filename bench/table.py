"""The tables for people: of the budgets, and of everything that was measured. Pure but for :func:`write_page`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cells import cell_table
from bench.images import CONTAINER_PSS, CONTAINERS_PSS, DOCKER_BUILD, IMAGE, LAYER_RATE
from bench.markdown import number, rows, with_spread
from bench.parts import (
    BUILD_OWN_SECONDS,
    BUILD_SECONDS,
    BUILDER,
    LARGE_MEMORY,
    SHA256_ALL_SHARE,
    SHA256_RATE,
    VERIFY,
    VERIFY_RATE,
    VERIFY_SHARE,
)
from bench.processors import kind_of, name_of
from bench.results import (
    FIRST_VECTOR,
    KINDS,
    PSS_FOUR,
    RSS,
    SINGLE_CALLERS,
    SINGLES,
    SINGLES_AT_ONCE,
    WAYS,
    throughput,
    way,
)
from bench.shape_runs import COLD_PEAK, COLD_SECONDS, LONG, LONG_PEAK
from bench.shapes import SHAPES
from bench.subjects import MINI, REFERENCE, SYNTHETIC, is_called_at_once, subjects_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.budgets import Budget, Verdict
    from bench.results import Results
    from bench.shapes import Shape

BEGIN = "<!-- figures: begin; written by nox -s bench -->"
END = "<!-- figures: end -->"
SHAPES_BEGIN = "<!-- shapes: begin; written by nox -s bench -- --shapes -->"
SHAPES_END = "<!-- shapes: end -->"

_NAMES = {
    MINI: "all-MiniLM-L6-v2",
    SYNTHETIC: "synthetic: random weights in the shape of paraphrase-multilingual-MiniLM-L12-v2",
}
_KEY_VERSIONS = ("torch", "sentence-transformers", "transformers", "onnxruntime", "tokenizers", "fastembed", "openvino")
_IDLE = 0.7
"""Load of the last minute up to which a machine counts as idle."""


def limit_of(budget: Budget) -> str:
    """Return the figure of a budget, and the processors that it is for where it is not for all."""
    limit = f"{'at most' if budget.at_most else 'at least'} {number(budget.limit, budget.unit)}"
    return limit if budget.processors is None else f"{limit} ({budget.processors})"


def budget_table(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the table of the budgets that are for the machine of a run."""
    body = []
    for verdict in verdicts:
        budget = verdict.budget
        limit = limit_of(budget)
        if verdict.spread is None:
            body.append([budget.what, limit, "not measured", f"no: {verdict.reason}"])
            continue
        body.append(
            [budget.what, limit, with_spread(verdict.spread, budget.unit), "yes" if verdict.is_met else "**no**"]
        )
    return rows(["what", "budget", "measured", "met"], body)


def side_by_side(runs: Sequence[Sequence[Verdict]], names: Sequence[str]) -> list[str]:
    """Return a row for each budget of any of several machines, and a column for each machine."""
    found = [{verdict.budget.what: verdict for verdict in verdicts} for verdicts in runs]
    body = []
    for what in dict.fromkeys(what for verdicts in found for what in verdicts):
        of_each = [verdicts.get(what) for verdicts in found]
        limits = dict.fromkeys(limit_of(verdict.budget) for verdict in of_each if verdict is not None)
        cells = [
            "not measured"
            if verdict is None or verdict.spread is None
            else number(verdict.spread.median, verdict.budget.unit) + ("" if verdict.is_met else " (**not met**)")
            for verdict in of_each
        ]
        body.append([what, "; ".join(limits), *cells])
    return rows(["what", "budget", *names], body)


def _cell(results: Results, metric: str, subject: str, unit: str) -> str:
    spread = results.spread(metric, subject)
    if spread is None:
        return "failed"
    reference = f"{subject.partition('/')[0]}/{REFERENCE}"
    ratio = None if subject == reference else results.ratio((metric, subject), (metric, reference))
    return with_spread(spread, unit) + ("" if ratio is None else f", {number(ratio.median)} x")


def subject_tables(results: Results, model: str) -> list[str]:
    """Return what was measured of the subjects of a model; "x" is the ratio to sentence-transformers."""
    subjects = subjects_of(model)
    body = []
    for subject in subjects:
        cosine = results.agreement.get(subject.name)
        figures = [(FIRST_VECTOR, "s"), (RSS, "bytes"), (PSS_FOUR, "bytes")]
        cells = [_cell(results, metric, subject.name, unit) for metric, unit in figures]
        body.append([subject.title, *cells, "failed" if cosine is None else f"{cosine:.6f}"])
    head = ["", "first vector", "RSS of one process", "PSS of four processes", "smallest cosine"]
    lines = rows(head, body)
    for callers, calls in WAYS:
        metrics = [throughput(kind, callers, calls) for kind in KINDS]
        if not any(results.values(metric, subject.name) for metric in metrics for subject in subjects):
            continue
        title = f"{way(callers, calls)}, texts/s"
        body = [
            [subject.title, *(_cell(results, metric, subject.name, "") for metric in metrics)] for subject in subjects
        ]
        lines += ["", *rows([title, *KINDS], body)]
    return lines


def singles_table(results: Results) -> list[str]:
    """Return what calls with one text each came to, one by one and at once."""
    subjects = [subject for subject in subjects_of(MINI) if results.values(SINGLES, subject.name)]
    body = []
    for subject in subjects:
        gain = results.ratio((SINGLES_AT_ONCE, subject.name), (SINGLES, subject.name))
        cells = [_cell(results, metric, subject.name, "") for metric in (SINGLES, SINGLES_AT_ONCE)]
        if not is_called_at_once(subject):
            body.append([subject.title, cells[0], "", ""])
            continue
        body.append([subject.title, *cells, "failed" if gain is None else with_spread(gain)])
    head = ["calls with one text, texts/s", "one caller", f"{SINGLE_CALLERS} callers at once", "ratio"]
    return rows(head, body)


def part_table(results: Results) -> list[str]:
    """Return what was measured of verification and of the builder."""
    figures = [
        ("verify, warm page cache", VERIFY_RATE, VERIFY, "bytes"),
        ("hashlib sha256 by one core, of bytes in memory", SHA256_RATE, VERIFY, "bytes"),
        ("verify / (cores x one core)", VERIFY_SHARE, VERIFY, ""),
        ("hashlib by all cores / (cores x one core): what the machine permits", SHA256_ALL_SHARE, VERIFY, ""),
        ("build with nothing to do, whole process", BUILD_SECONDS, BUILDER, "s"),
        ("build with nothing to do, its own time", BUILD_OWN_SECONDS, BUILDER, "s"),
        (LARGE_MEMORY, LARGE_MEMORY, BUILDER, "bytes"),
        ("pack a bundle as an image layout, whole process", LAYER_RATE, IMAGE, "bytes"),
        ("docker build with COPY of the same bytes", LAYER_RATE, DOCKER_BUILD, "bytes"),
        ("PSS of one container of the synthetic model", CONTAINER_PSS, IMAGE, "bytes"),
        ("PSS of four containers of one image", CONTAINERS_PSS, IMAGE, "bytes"),
    ]
    body = []
    for title, metric, subject, unit in figures:
        spread = results.spread(metric, subject)
        rate = "/s" if metric in (VERIFY_RATE, SHA256_RATE, LAYER_RATE) else ""
        body.append([title, "failed" if spread is None else with_spread(spread, unit) + (rate and " per second")])
    return rows(["", "measured"], body)


def failures(results: Results) -> list[str]:
    """Return what failed, and why, as a list."""
    return [
        f"- {failure.subject}{': ' + failure.metric if failure.metric else ''}: {failure.reason}"
        for failure in results.failures
    ]


def describe(results: Results) -> list[str]:
    """Return what was measured on, with which versions, and of which bundles."""
    machine = results.machine
    versions = {
        environment: ", ".join(f"{name} {found[name]}" for name in _KEY_VERSIONS if name in found)
        for environment, found in results.versions.items()
    }
    return [
        *(["**A quick run: these figures are for trying things out.**", ""] if results.is_quick else []),
        f"- measured {results.started}",
        f"- {machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / 1e9:.0f} GB",
        f"- instruction sets: {', '.join(machine['instructions']) or 'none of those looked for'}: {kind_of(machine)}",
        *(
            [f"- **not idle when it began: load {load:.1f}**"]
            if (load := results.settings.get("load", 0)) > _IDLE
            else []
        ),
        f"- {machine['kernel']}, Python {machine['python']}",
        *(f"- environment {environment}: {listed}" for environment, listed in versions.items()),
        *(f"- bundle of {model}: sha256 {bundle['bundle_digest']}" for model, bundle in results.bundles.items()),
    ]


def report(results: Results, verdicts: Sequence[Verdict]) -> str:
    """Return all tables of one run."""
    lines = [*describe(results), "", "#### Budgets", "", *budget_table(verdicts)]
    for model in (MINI, SYNTHETIC):
        lines += ["", f"#### {_NAMES[model]}", "", *subject_tables(results, model)]
        if model == MINI:
            lines += ["", *singles_table(results), "", *cell_table(results)]
    lines += ["", "#### Bundle, builder and images", "", *part_table(results)]
    if failed := failures(results):
        lines += ["", "#### Failed", "", *failed]
    return "\n".join(lines)


def report_all(runs: Sequence[tuple[Results, Sequence[Verdict]]]) -> str:
    """Return the budgets of all machines side by side, and the tables of each."""
    names = [f"{results.machine['processor']} ({kind_of(results.machine)})" for results, _ in runs]
    lines = ["### Machines side by side", "", *side_by_side([verdicts for _, verdicts in runs], names)]
    for results, verdicts in runs:
        lines += ["", f"### {name_of(results.machine)}", "", report(results, verdicts)]
    return "\n".join(lines)


def shape_tables(results: Results, shape: Shape) -> list[str]:
    """Return what was measured of a shape; "x" is the ratio to sentence-transformers."""
    subjects = subjects_of(shape.name)
    figures = (
        (FIRST_VECTOR, "s"),
        (RSS, "bytes"),
        (SINGLES, ""),
        (throughput("short", 1, 1), ""),
        (throughput("mixed", 1, 1), ""),
        (LONG, ""),
        (LONG_PEAK, "bytes"),
    )
    body = []
    for subject in subjects:
        cosine = results.agreement.get(subject.name)
        cells = [_cell(results, metric, subject.name, unit) for metric, unit in figures]
        body.append([subject.title, *cells, "failed" if cosine is None else f"{cosine:.6f}"])
    long = f"text of {shape.long_tokens:,} tokens"
    head = ["", "first vector", "RSS", "short, one by one, texts/s", "short, texts/s", "mixed, texts/s"]
    head += [f"{long}, texts/s", f"memory for a {long}"]
    return [
        (
            f"In the shape of {shape.like}. A build of all variants from nothing took "
            f"{_figure(results, COLD_SECONDS, shape, 's')}, and at most {_figure(results, COLD_PEAK, shape, 'bytes')}."
        ),
        "",
        *rows([*head, "smallest cosine"], body),
    ]


def _figure(results: Results, metric: str, shape: Shape, unit: str) -> str:
    spread = results.spread(metric, shape.name)
    return "(failed)" if spread is None else with_spread(spread, unit)


def report_shapes(runs: Sequence[tuple[Results, Sequence[Verdict]]]) -> str:
    """Return the tables of the shapes, of each machine."""
    lines: list[str] = []
    for results, verdicts in runs:
        lines += [f"### {name_of(results.machine)}", "", *describe(results), "", *budget_table(verdicts)]
        measured = results.models
        for shape in (shape for shape in SHAPES.values() if shape.name in measured):
            lines += ["", f"#### {shape.name}", "", *shape_tables(results, shape)]
        if failed := failures(results):
            lines += ["", "#### Failed", "", *failed]
        lines.append("")
    return "\n".join(lines).rstrip()


def write_page(page: Path, text: str, begin_mark: str = BEGIN, end_mark: str = END) -> None:
    """Put the tables between two markers of a page.

    Raises:
        ValueError: The page does not have both markers, each once and in order.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(begin_mark)
    _, end, after = rest.partition(end_mark)
    if not begin or not end or begin_mark in rest or end_mark in after:
        raise ValueError(f"{page}: expected the markers {begin_mark} and {end_mark}, each once and in order")
    page.write_text(f"{before}{begin_mark}\n\n{text}\n\n{end_mark}{after}", encoding="utf-8")
