"""Results with invented figures, and a process that gives some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from bench.cells import CELLS, OPERATIONS, PRODUCT
from bench.images import CONTAINER_PSS, CONTAINERS_PSS, DOCKER_BUILD, IMAGE, LAYER_RATE
from bench.parts import (
    BUILD_REWRITTEN,
    BUILD_SECONDS,
    BUILDER,
    LARGE_MEMORY,
    VERIFY,
    VERIFY_SHARE,
)
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
    Results,
    throughput,
)
from bench.subjects import SUBJECTS

if TYPE_CHECKING:
    from bench.subjects import Subject

MACHINE = {
    "processor": "Some Processor",
    "cores": 2,
    "memory_bytes": 8_000_000_000,
    "kernel": "Linux 6.1",
    "python": "3.11.7",
    "instructions": ["avx2", "avx512f", "avx512_vnni"],
}

OLDER = {**MACHINE, "processor": "An Older Processor", "instructions": ["avx2"]}
"""A machine of another kind."""

FAST = {
    "raw": 1.0,
    "fastembed": 0.12,
    "openvino": 1.2,
    "onnx-fp32": 0.04,
    "onnx-fp32-prepacked": 0.05,
    "onnx-int8": 0.03,
    "torch-fp32": 1.01,
    "onnx-fp32-manager": 0.042,
    "torch-fp32-manager": 1.02,
}
"""Time to the first vector as a part of sentence-transformers'."""

THROUGHPUT = {
    "raw": 1.0,
    "fastembed": 1.1,
    "openvino": 1.3,
    "onnx-fp32": 2.4,
    "onnx-fp32-prepacked": 2.42,
    "onnx-int8": 5.5,
    "torch-fp32": 0.99,
    "onnx-fp32-manager": 2.39,
    "torch-fp32-manager": 0.98,
}


def empty_results(**changes: Any) -> Results:
    return Results(**{"is_quick": False, "started": "2024-03-31 12:00 UTC", "machine": dict(MACHINE), **changes})


def make_results(*, slowness: float = 1.0, repetitions: int = 3, **changes: Any) -> Results:
    """Return results that meet every budget, on a machine that is ``slowness`` times as slow as another one."""
    results = empty_results(**changes)
    for repetition in range(repetitions):
        pace = slowness * (1 + repetition / 10)  # each repetition slower than the last, as on a machine that gets busy
        for subject in SUBJECTS:
            results.add(FIRST_VECTOR, subject.name, repetition, 5 * pace * FAST[subject.way])
            for kind in KINDS:
                for way in WAYS:
                    value = 300 / pace * THROUGHPUT[subject.way]
                    results.add(throughput(kind, *way), subject.name, repetition, value)
            results.add(SINGLES, subject.name, repetition, 100 / pace * THROUGHPUT[subject.way])
            if subject.loader == "thoth-models-manager":
                results.add(SINGLES_AT_ONCE, subject.name, repetition, 800 / pace)
            memory = 170e6 if subject.way.startswith("onnx") else 500e6
            results.add(RSS, subject.name, repetition, memory)
            results.add(PSS, subject.name, repetition, memory)
            results.add(RSS_FOUR, subject.name, repetition, memory * 4)
            results.add(PSS_FOUR, subject.name, repetition, memory * (1.6 if memory < 300e6 else 3.5))
        results.add(VERIFY_SHARE, VERIFY, repetition, 0.9)
        results.add(BUILD_SECONDS, BUILDER, repetition, 0.6 * pace)
        results.add(BUILD_REWRITTEN, BUILDER, repetition, 0)
        results.add(LAYER_RATE, IMAGE, repetition, 900e6 / pace)
        results.add(LAYER_RATE, DOCKER_BUILD, repetition, 200e6 / pace)
        results.add(CONTAINER_PSS, IMAGE, repetition, 600e6)
        results.add(CONTAINERS_PSS, IMAGE, repetition, 1000e6)
        results.add(PRODUCT, "mini/raw", repetition, 2e11 / pace)
    results.add(LARGE_MEMORY, BUILDER, 0, 40e6)
    results.settings[OPERATIONS] = dict.fromkeys(CELLS.values(), 1e8)
    results.agreement = {subject.name: 1.0 for subject in SUBJECTS}
    return results


def without(results: Results, subject: str, metric: str | None = None) -> Results:
    """Remove what was measured of a subject, or one metric of it."""
    results.measurements = [
        one for one in results.measurements if one.subject != subject or metric not in (None, one.metric)
    ]
    return results


def scaled(results: Results, subject: str, metric: str, factor: float) -> Results:
    """Multiply one metric of one subject in every repetition."""
    values = results.values(metric, subject)
    without(results, subject, metric)
    for repetition, value in values.items():
        results.add(metric, subject, repetition, value * factor)
    return results


class FakeWorker:
    """Takes the place of the process of a subject."""

    is_alive = True

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def first_vector(self) -> float:
        return 1.0

    def memory(self) -> dict[str, int]:
        return {"rss": 10, "pss": 5}
