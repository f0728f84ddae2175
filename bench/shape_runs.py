"""Measuring the shapes: a build from nothing, first vector, throughput, and one long text, each beside the reference.

One shape after the other, and each is removed before the next is written: the largest takes 12 GB of disk.
"""

from __future__ import annotations

import itertools
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.materials import (
    Materials,
    prepare_bundle,
    prepare_environments,
    prepare_peers,
    remove_tree,
    write_invented,
)
from bench.measure import Bench, turns
from bench.peaks import Peak
from bench.processes import SubjectError
from bench.results import SINGLES, throughput
from bench.shapes import SHAPES
from bench.subjects import SHAPE_SUBJECTS, VARIANTS, Places, subjects_of
from bench.texts import Sizes, long_text, make_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.processes import Worker
    from bench.results import Results
    from bench.shapes import Shape

COLD_SECONDS = "build of all variants from nothing"
COLD_PEAK = "most memory of that build, above nothing"
LONG = "long texts per second, one by one"
LONG_PEAK = "most memory for one long text, above the loaded model"
WAYS = (("short", False), ("mixed", False), ("short", True))
"""What is encoded, and whether in calls with one text each."""

_MEMORY_SHARE = 0.7
"""Of the machine's memory that a measured process may take: beyond it an allocation fails, and no process is killed."""

_AGREEMENT = Sizes(short=8, long=1, mixed=12)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How often, and of how many texts.

    Attributes:
        first_vector: Repetitions of new processes.
        throughput: Repetitions of each throughput.
        long: Repetitions of the long text.
        texts: How many texts a throughput is of.
    """

    first_vector: int
    throughput: int
    long: int
    texts: Sizes


FULL = Counts(first_vector=3, throughput=3, long=2, texts=Sizes(short=48, long=0, mixed=12))
QUICK = Counts(first_vector=1, throughput=2, long=1, texts=Sizes(short=16, long=0, mixed=12))


def measure_shapes(
    names: Sequence[str], work: Path, counts: Counts, results: Results, log_progress: Callable[[str], None]
) -> None:
    """Measure these shapes, and record what was found, what failed, and of which bundles."""
    work.mkdir(parents=True, exist_ok=True)
    threads = int(results.settings["threads"])
    for name in names:
        place = work / "shapes"
        remove_tree(place)
        place.mkdir()
        # The environments are those of the other measurements, and stay.
        (work / "environments").mkdir(exist_ok=True)
        (place / "environments").symlink_to(work / "environments")
        materials = Materials(Places(work=place))
        prepare_environments((one for one in SHAPE_SUBJECTS if one.model == name), materials, log_progress)
        bench = Bench(
            materials=materials,
            results=results,
            threads=threads,
            log_progress=log_progress,
            memory_limit=int(_MEMORY_SHARE * results.machine["memory_bytes"]),
        )
        _measure(SHAPES[name], bench, counts)
        results.bundles |= materials.bundles
        remove_tree(place)


def _measure(shape: Shape, bench: Bench, counts: Counts) -> None:
    _measure_build(shape, bench)
    texts = make_texts(_AGREEMENT)
    (file,) = bench.write_texts("", {"agreement": [text for kind in texts.values() for text in kind]}).values()
    bench.compare_vectors(shape.name, file)
    for subject in subjects_of(shape.name):
        if subject.name in bench.materials.failures:
            bench.results.fail("", subject.name, bench.materials.failures[subject.name])
    bench.measure_one(shape.name, counts.first_vector)
    _measure_throughput(shape, bench, counts)
    _measure_long(shape, bench, counts.long)


def _measure_build(shape: Shape, bench: Bench) -> None:
    """Build the bundle from nothing, and measure time and memory of ``lock`` and ``build`` with all below them."""
    materials, results = bench.materials, bench.results
    bench.log_progress(f"{shape.name}: weights")
    try:
        write_invented(shape.name, materials.places)
    except SubjectError as error:
        materials.failures |= {subject.name: str(error) for subject in subjects_of(shape.name)}
        return
    bench.log_progress(f"{shape.name}: bundle")
    with Peak(os.getpid()) as peak:
        started = time.monotonic()
        prepare_bundle(shape.name, materials)
        seconds = time.monotonic() - started
    built = materials.bundles.get(shape.name, {"variants": ()})["variants"]
    if set(built) == set(VARIANTS[shape.name]):
        results.add(COLD_SECONDS, shape.name, 0, seconds)
        results.add(COLD_PEAK, shape.name, 0, peak.most)
    else:
        reason = f"expected {', '.join(VARIANTS[shape.name])} in the bundle, found {', '.join(built) or 'none'}"
        results.fail(COLD_SECONDS, shape.name, reason)
    prepare_peers(shape.name, materials, bench.log_progress)


def _measure_throughput(shape: Shape, bench: Bench, counts: Counts) -> None:
    results = bench.results
    kinds = {kind for kind, _ in WAYS}
    files = bench.write_texts("", {kind: texts for kind, texts in make_texts(counts.texts).items() if kind in kinds})
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for subject in bench.materials.ready(shape.name):
            with bench.failing(subject.name, ""):
                workers[subject.name] = stack.enter_context(bench.start(subject))
                workers[subject.name].first_vector()
        for (kind, is_single), repetition in itertools.product(WAYS, range(counts.throughput)):
            count = getattr(counts.texts, kind)
            metric, calls = (SINGLES, count) if is_single else (throughput(kind, 1, 1), 1)
            bench.log_progress(f"{shape.name}: {metric}, {repetition + 1} of {counts.throughput}")
            for subject in turns(bench.materials.ready(shape.name), repetition):
                worker = workers.get(subject.name)
                if worker is not None and worker.is_alive and not results.has_failed(subject.name, metric):
                    with bench.failing(subject.name, metric):
                        results.add(metric, subject.name, repetition, count / worker.encode(files[kind], 1, calls))


def token_counter(model: Path) -> Callable[[str], int]:
    """Return the function that counts the tokens of a text, the special ones too, as the model in a directory does."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - a library of what is measured

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text).ids)


def _measure_long(shape: Shape, bench: Bench, repetitions: int) -> None:
    """Measure one text of the maximum length, in new processes: a batch before would hide some of what it takes."""
    results = bench.results
    text = long_text(shape.long_tokens, token_counter(bench.materials.places.source(shape.name)))
    files = bench.write_texts("", {"one": [text], "few": ["water and bread"]})
    for repetition in range(repetitions):
        for subject in turns(bench.materials.ready(shape.name), repetition):
            if results.has_failed(subject.name, LONG):
                continue
            bench.log_progress(f"{subject.name}: {LONG}, {repetition + 1} of {repetitions}")
            with bench.failing(subject.name, LONG), bench.start(subject) as worker:
                worker.first_vector()
                worker.encode(files["few"], 1, 1)
                found = worker.peak(files["one"])
                results.add(LONG, subject.name, repetition, 1 / found["seconds"])
                results.add(LONG_PEAK, subject.name, repetition, found["peak"] - found["before"])
