"""Measuring the subjects: first vector, memory and throughput, round-robin within every repetition."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.cells import PRODUCT
from bench.processes import SubjectError, Worker, run, worker_environment
from bench.results import (
    CALLERS,
    FIRST_VECTOR,
    KINDS,
    PROCESSES,
    PSS,
    PSS_FOUR,
    RSS,
    RSS_FOUR,
    SINGLE_CALLERS,
    SINGLES,
    SINGLES_AT_ONCE,
    WAYS,
    throughput,
)
from bench.subjects import REFERENCE, is_called_at_once, task_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.materials import Materials
    from bench.results import Results
    from bench.subjects import Subject


_ANSWER_SECONDS = 900.0
"""A text of 8,192 tokens through the largest shape takes two minutes where other things run, too."""


def turns(subjects: Sequence[Subject], repetition: int) -> list[Subject]:
    """Return the subjects in the order of one repetition: each begins once, so that none always follows the same."""
    shift = repetition % max(1, len(subjects))
    return [*subjects[shift:], *subjects[:shift]]


@dataclass
class Bench:
    """What all measurements of subjects share.

    Attributes:
        materials: What they load.
        results: What is found out.
        threads: Threads of each process: the usable cores.
        log_progress: Shows progress.
        memory_limit: Bytes that a measured process may allocate; None for as many as there are.
    """

    materials: Materials
    results: Results
    threads: int
    log_progress: Callable[[str], None]
    memory_limit: int | None = None

    def start(self, subject: Subject) -> Worker:
        """Start the process of a subject."""
        environment = worker_environment(self.threads)
        if subject.environment != "main":
            environment.pop("PYTHONPATH", None)
        python = self.materials.pythons[subject.environment]
        task = task_of(subject, self.materials.places, self.threads)
        if self.memory_limit is not None:
            task["memory_limit"] = self.memory_limit
        return Worker(python, task, environment, timeout=_ANSWER_SECONDS)

    def write_texts(self, prefix: str, texts: Mapping[str, Sequence[str]]) -> dict[str, Path]:
        """Write texts where the workers can read them, and return the files by the same names."""
        directory = self.materials.places.work / "texts"
        directory.mkdir(exist_ok=True)
        files = {name: directory / f"{prefix}{name}.json" for name in texts}
        for name, file in files.items():
            file.write_text(json.dumps(list(texts[name])), encoding="utf-8")
        return files

    def compare_vectors(self, model: str, texts: Path) -> None:
        """Encode the same texts with every subject, and compare the vectors with those of the reference.

        A subject that fails here is left out of all that follows. This also warms up: byte code is written, and files
        are in the page cache.
        """
        directory = self.materials.places.work / "vectors"
        directory.mkdir(exist_ok=True)
        made: dict[str, Path] = {}
        for subject in self.materials.ready(model):
            self.log_progress(f"vectors of {subject.name}")
            target = directory / f"{model}-{subject.way}.npy"
            target.unlink(missing_ok=True)
            try:
                with self.start(subject) as worker:
                    worker.first_vector()
                    self.results.imported[subject.name] = worker.vectors(texts, target)
            except SubjectError as error:
                self.materials.failures[subject.name] = str(error)
            else:
                made[subject.way] = target
        if REFERENCE not in made:
            return
        for way, target in made.items():
            # In another process: what this one imports would count for less in the memory of the subjects.
            command: list[str | Path] = [sys.executable, "-m", "bench.agreement", made[REFERENCE], target]
            try:
                self.results.agreement[f"{model}/{way}"] = float(run(command, timeout=60).stdout)
            except SubjectError as error:
                self.materials.failures[f"{model}/{way}"] = f"vectors that cannot be compared: {error}"

    def measure_one(self, model: str, repetitions: int) -> None:
        """Measure the first vector and the memory of one process, with nothing else running."""
        for repetition, subject in self._rounds(model, repetitions, "first vector, one process"):
            with self.failing(subject.name, FIRST_VECTOR), self.start(subject) as worker:
                seconds = worker.first_vector()
                memory = worker.memory()
                self.results.add(FIRST_VECTOR, subject.name, repetition, seconds)
                self.results.add(RSS, subject.name, repetition, memory["rss"])
                self.results.add(PSS, subject.name, repetition, memory["pss"])

    def measure_four(self, model: str, repetitions: int) -> None:
        """Measure the memory of four processes of one subject at once, all loaded and none ended."""
        for repetition, subject in self._rounds(model, repetitions, "memory of four processes"):
            with self.failing(subject.name, PSS_FOUR), contextlib.ExitStack() as stack:
                workers = [stack.enter_context(self.start(subject)) for _ in range(PROCESSES)]
                for worker in workers:
                    worker.first_vector()
                memories = [worker.memory() for worker in workers]
                self.results.add(RSS_FOUR, subject.name, repetition, sum(memory["rss"] for memory in memories))
                self.results.add(PSS_FOUR, subject.name, repetition, sum(memory["pss"] for memory in memories))

    def measure_throughput(
        self, model: str, repetitions: int, texts: Mapping[str, Sequence[str]], shared: Mapping[str, Sequence[str]]
    ) -> None:
        """Measure texts per second: ``texts`` in one call; ``shared`` in eight calls, one by one and in eight threads.

        The processes stay, so that in each repetition the subjects take turns within seconds of each other.
        """
        counts = {1: texts, CALLERS: shared}
        files = {calls: self.write_texts(f"{calls}-", made) for calls, made in counts.items()}
        with contextlib.ExitStack() as stack:
            workers: dict[str, Worker] = {}
            for subject in self.materials.ready(model):
                with self.failing(subject.name, ""):
                    worker = stack.enter_context(self.start(subject))
                    worker.first_vector()
                    worker.encode(files[1]["mixed"], 1, 1)
                    workers[subject.name] = worker
            jobs = [(kind, *way) for kind in KINDS for way in WAYS]
            for repetition in range(repetitions):
                reference = f"{model}/{REFERENCE}"
                if reference in workers:
                    with self.failing(reference, PRODUCT):
                        self.results.add(PRODUCT, reference, repetition, workers[reference].product())
                for kind, callers, calls in jobs:
                    metric = throughput(kind, callers, calls)
                    self.log_progress(f"{metric}, {repetition + 1} of {repetitions}")
                    for subject in turns(self.materials.ready(model), repetition):
                        found = workers.get(subject.name)
                        if found is None or not found.is_alive or self.results.has_failed(subject.name, metric):
                            continue
                        with self.failing(subject.name, metric):
                            seconds = found.encode(files[calls][kind], callers, calls)
                            self.results.add(metric, subject.name, repetition, len(counts[calls][kind]) / seconds)

    def measure_singles(self, model: str, repetitions: int, texts: Sequence[str]) -> None:
        """Measure texts per second of calls with one text each, and of many such callers at once.

        The second of the variant alone and of the manager that gathers them.
        """
        (file,) = self.write_texts("single-", {"short": texts}).values()
        with contextlib.ExitStack() as stack:
            workers: dict[str, Worker] = {}
            for subject in self.materials.ready(model):
                with self.failing(subject.name, ""):
                    workers[subject.name] = stack.enter_context(self.start(subject))
                    workers[subject.name].first_vector()
            for repetition in range(repetitions):
                for metric, callers in ((SINGLES, 1), (SINGLES_AT_ONCE, SINGLE_CALLERS)):
                    self.log_progress(f"{metric}, {repetition + 1} of {repetitions}")
                    for subject in turns(self.materials.ready(model), repetition):
                        worker = workers.get(subject.name)
                        if metric == SINGLES_AT_ONCE and not is_called_at_once(subject):
                            continue
                        if worker is None or not worker.is_alive or self.results.has_failed(subject.name, metric):
                            continue
                        with self.failing(subject.name, metric):
                            seconds = worker.encode(file, callers, len(texts))
                            self.results.add(metric, subject.name, repetition, len(texts) / seconds)

    def _rounds(self, model: str, repetitions: int, what: str) -> Iterator[tuple[int, Subject]]:
        for repetition in range(repetitions):
            self.log_progress(f"{what}, {model}, {repetition + 1} of {repetitions}")
            for subject in turns(self.materials.ready(model), repetition):
                yield repetition, subject

    @contextlib.contextmanager
    def failing(self, subject: str, metric: str) -> Iterator[None]:
        """Record what a subject fails of, and go on with the others."""
        try:
            yield
        except SubjectError as error:
            self.results.fail(metric, subject, str(error))
