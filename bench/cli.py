"""The command line: ``python -m bench [--quick] [--compare OLD.json [--no-measure]]``, or ``--shapes [NAME …]``.

Exit codes: 0 measured, 1 past a trigger of ``--compare``, 2 bad usage, which includes nothing alike to compare with.
Whether a budget was met is said, not an error: a machine may be too small or too busy for it.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.budgets import judge, judge_shapes
from bench.cells import OPERATIONS, count_operations
from bench.compare import alike, caveats, compare
from bench.images import measure_containers, measure_layers
from bench.machine import describe_machine, read_versions
from bench.materials import ROOT, prepare
from bench.measure import Bench
from bench.output import log_progress, show
from bench.parts import measure_build, measure_large, measure_verify
from bench.plot import draw
from bench.processors import kind_of, name_of
from bench.results import KINDS, SINGLES, WAYS, Results, beside, read_runs, throughput, to_json, together
from bench.shape_runs import FULL as FULL_SHAPES
from bench.shape_runs import QUICK as QUICK_SHAPES
from bench.shape_runs import measure_shapes
from bench.shapes import SHAPES
from bench.subjects import MINI, SYNTHETIC
from bench.table import (
    SHAPES_BEGIN,
    SHAPES_END,
    budget_table,
    describe,
    failures,
    report_all,
    report_shapes,
    write_page,
)
from bench.texts import Sizes, make_texts
from thoth_models.process.environment import usable_cores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DONE, WORSE, BAD_USAGE = range(3)

PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "bench" / "results.json"
SHAPE_RESULTS = ROOT / "bench" / "shapes.json"

# How often, and how much: each settled so that a full run takes some ten minutes on two cores.
FULL = {
    "first vector": 6,
    "four processes": 2,
    "throughput": 4,
    "synthetic": 3,
    "verify": 15,
    "build": 7,
    "large file": 4 * 1024**3,
    "layers": 3,
    "containers": 2,
}
QUICK = {**dict.fromkeys(FULL, 2), "layers": 1, "containers": 1, "large file": 256 * 1024**2}
FULL_SIZES = {
    "one": Sizes(short=2000, long=16, mixed=96),
    "many": Sizes(short=400, long=16, mixed=96),
    "single": Sizes(short=1000, long=0, mixed=0),
}
QUICK_SIZES = dict.fromkeys(FULL_SIZES, Sizes(short=200, long=8, mixed=36))
AGREEMENT = Sizes(short=40, long=4, mixed=60)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write what was found, and compare."""
    options = _parser().parse_args(arguments)
    if options.shapes is not None:
        return _shapes(options.shapes or list(SHAPES), options.work.resolve(), quick=options.quick)
    # Read first: the older results may be the very file that is about to be written.
    try:
        old = None if options.compare is None else read_runs(options.compare)
        kept = read_runs(RESULTS) if RESULTS.exists() or options.no_measure else []
    except (OSError, ValueError, TypeError, KeyError) as error:
        show(f"error: {error}")
        return BAD_USAGE
    if not options.no_measure:
        results = measure(options.work.resolve(), quick=options.quick)
        write(results, kept, options.work.resolve())
        kept = [results]
    code = DONE
    for results in kept:
        show("\n".join([*describe(results), "", *budget_table(judge(results)), "", *failures(results)]))
        if old is not None:
            code = max(code, _compare(old, results))
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nox -s bench --", description="Measure this project with others.")
    parser.add_argument("--quick", action="store_true", help="few repetitions and texts; leaves the page alone")
    parser.add_argument(
        "--shapes",
        nargs="*",
        choices=list(SHAPES),
        metavar="NAME",
        help=f"measure popular shapes with random weights instead: {', '.join(SHAPES)}, or those named",
    )
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="fail if anything is past its trigger")
    parser.add_argument(
        "--no-measure", action="store_true", help=f"take {RESULTS.relative_to(ROOT)} as it is, do not measure"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=ROOT / ".nox" / "bench-work",
        help="directory for bundles and environments, kept from run to run (default: .nox/bench-work)",
    )
    return parser


def _shapes(names: Sequence[str], work: Path, *, quick: bool) -> int:
    """Measure shapes one after the other, and write what is known after each: all of them take an hour or two."""
    counts = QUICK_SHAPES if quick else FULL_SHAPES
    place = work if quick else SHAPE_RESULTS.parent
    runs = [] if quick or not SHAPE_RESULTS.exists() else read_runs(SHAPE_RESULTS)
    report = ""
    for name in names:
        results = _begin(quick=quick, settings={"counts": dataclasses.asdict(counts)})
        measure_shapes([name], work, counts, results, log_progress)
        results.versions = {"main": read_versions(Path(sys.executable))}
        runs = beside(runs, together(runs, results, name))
        judged = [(run, judge_shapes(run)) for run in runs]
        documents = [run.to_document([verdict.to_table() for verdict in verdicts]) for run, verdicts in judged]
        (place / SHAPE_RESULTS.name).write_text(to_json(documents), encoding="utf-8")
        report = report_shapes(judged)
        if not quick:
            write_page(PAGE, report, SHAPES_BEGIN, SHAPES_END)
    show(report)
    return DONE


def _begin(*, quick: bool, settings: Mapping[str, Any]) -> Results:
    return Results(
        is_quick=quick,
        started=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=describe_machine(),
        settings={"threads": usable_cores(), "load": os.getloadavg()[0], **settings},
    )


def measure(work: Path, *, quick: bool) -> Results:
    """Measure everything once."""
    work.mkdir(parents=True, exist_ok=True)
    counts, sizes = (QUICK, QUICK_SIZES) if quick else (FULL, FULL_SIZES)
    results = _begin(
        quick=quick,
        settings={"counts": counts, "texts": {callers: dataclasses.asdict(size) for callers, size in sizes.items()}},
    )
    materials = prepare(work, log_progress)
    results.bundles = materials.bundles
    results.versions = {name: read_versions(python) for name, python in materials.pythons.items()}
    bench = Bench(materials=materials, results=results, threads=usable_cores(), log_progress=log_progress)
    agreement = [text for texts in make_texts(AGREEMENT).values() for text in texts]
    (file,) = bench.write_texts("", {"agreement": agreement}).values()
    for model in (MINI, SYNTHETIC):
        bench.compare_vectors(model, file)
    for name, reason in materials.failures.items():
        results.fail("", name, reason)
    bench.measure_one(MINI, counts["first vector"])
    bench.measure_four(MINI, counts["four processes"])
    bench.measure_one(SYNTHETIC, counts["synthetic"])
    bench.measure_four(SYNTHETIC, counts["four processes"])
    texts = {called: make_texts(size) for called, size in sizes.items()}
    results.settings[OPERATIONS] = operations(materials.places.source(MINI), texts)
    bench.measure_throughput(MINI, counts["throughput"], texts["one"], texts["many"])
    bench.measure_singles(MINI, counts["throughput"], texts["single"]["short"])
    log_progress("verify")
    measure_verify(materials, results, counts["verify"])
    log_progress("build with nothing to do")
    measure_build(materials, results, counts["build"])
    measure_large(materials, results, counts["large file"], log_progress)
    measure_layers(materials, results, counts["layers"], log_progress)
    measure_containers(materials, results, counts["containers"], log_progress)
    log_progress("done")
    return results


def operations(source: Path, texts: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, float]:
    """Return the operations of a model for one text of each cell, by metric.

    Args:
        source: Directory of the model.
        texts: The texts by what they are for, as in ``FULL_SIZES``, and by kind.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415 - only a run that measures needs it

    config = json.loads((source / "config.json").read_bytes())
    limits = json.loads((source / "sentence_bert_config.json").read_bytes())
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(limits["max_seq_length"])

    def count(those: Sequence[str]) -> float:
        return count_operations(config, [len(encoded.ids) for encoded in tokenizer.encode_batch(list(those))])

    sets = {throughput(kind, *way): texts["one" if way[1] == 1 else "many"][kind] for kind in KINDS for way in WAYS}
    return {metric: count(those) for metric, those in {**sets, SINGLES: texts["single"]["short"]}.items()}


def write(results: Results, kept: Sequence[Results], work: Path) -> None:
    """Write results, plots and tables, beside those of other machines; a quick run's stay in the work directory."""
    runs = [results] if results.is_quick else beside(kept, results)
    judged = [(run, judge(run)) for run in runs]
    place = work if results.is_quick else RESULTS.parent
    documents = [run.to_document([verdict.to_table() for verdict in verdicts]) for run, verdicts in judged]
    (place / RESULTS.name).write_text(to_json(documents), encoding="utf-8")
    plots = work if results.is_quick else PAGE.parent
    draw(results, [plots / "benchmarks.png", plots / "benchmarks.svg"])
    if results.is_quick:
        (work / "benchmarks.md").write_text(report_all(judged) + "\n", encoding="utf-8")
    else:
        write_page(PAGE, report_all(judged))


def _compare(runs: Sequence[Results], new: Results) -> int:
    old = alike(runs, new)
    if old is None:
        there = "; ".join(name_of(run.machine) for run in runs) or "no run"
        show(f"error: expected older results of a processor with {kind_of(new.machine)}, found {there}")
        return BAD_USAGE
    show(f"{name_of(new.machine)}, compared with a run of {old.started}")
    for caveat in caveats(old, new):
        show(f"note: {caveat}")
    changes = compare(old, new)
    for change in changes:
        after = "not measured" if change.after is None else f"{change.after:.3f}"
        mark = "WORSE" if change.is_too_much else "     "
        show(f"{mark} {change.what}: {change.before:.3f} before, {after} now")
    worse = sum(change.is_too_much for change in changes)
    show(f"{worse} of {len(changes)} figures past their trigger (20 % slower, 50 % more memory)")
    return WORSE if worse else DONE
