"""What the page takes from the results of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.results import FIRST_VECTOR, PSS_FOUR, RSS, Measurement, Results, throughput, to_json
from bench.subjects import REFERENCE
from tests.support.bundles import invented_model, make_bundle, make_writable
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import UsageError
from thoth_models_builder.reports.page import benchmarks
from thoth_models_builder.reports.page.benchmarks import METRICS, Ratio, page_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thoth_models.bundle.manifest import Manifest

SPACE = Digest.of(b"mini").hex
MACHINE = {"processor": "P", "instructions": [], "cores": 2, "memory_bytes": 1, "kernel": "L", "python": "3"}


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[Manifest]:
    yield make_bundle(tmp_path / "bundle", [invented_model("mini")])
    make_writable(tmp_path)


def results(*measurements: tuple[str, str, int, float], space: str = SPACE, digest: str = "d" * 64) -> bytes:
    run = Results(
        is_quick=False, started="today", machine=MACHINE, bundles={"mini": {"bundle_digest": digest, "space": space}}
    )
    run.measurements = [
        Measurement(metric=metric, subject=subject, repetition=repetition, value=value)
        for metric, subject, repetition, value in measurements
    ]
    return to_json([run.to_document([])]).encode()


OURS, RAW = "mini/torch-fp32", "mini/raw"


def test_metrics_and_reference_are_those_of_the_benchmarks() -> None:
    assert set(METRICS) == {FIRST_VECTOR, RSS, PSS_FOUR, throughput("short", 1, 1)}
    assert benchmarks._REFERENCE == REFERENCE


def test_a_ratio_is_taken_within_each_repetition(manifest: Manifest) -> None:
    values = [(1, 1.0, 8.0), (2, 4.0, 16.0), (3, 16.0, 32.0)]
    data = results(
        *((RSS, OURS, repetition, ours) for repetition, ours, _ in values),
        *((RSS, RAW, repetition, raw) for repetition, _, raw in values),
        (RSS, OURS, 4, 1000.0),  # without a counterpart
        (FIRST_VECTOR, RAW, 1, 1.0),
    )
    (run,) = page_runs(data, manifest, "d" * 64)
    (variant,) = run.variants
    assert variant.name == OURS
    assert dict(zip(METRICS, variant.ratios, strict=True)) == {
        **dict.fromkeys(METRICS),
        RSS: Ratio(median=0.25, low=0.1875, high=0.375),
    }


def test_figures_of_another_space_are_left_out(manifest: Manifest) -> None:
    measured = [(RSS, OURS, 1, 1.0), (RSS, RAW, 1, 2.0)]
    assert page_runs(results(*measured), manifest, "d" * 64)[0].variants != ()
    assert page_runs(results(*measured, space="e" * 64), manifest, "d" * 64)[0].variants == ()


def test_another_bundle_of_the_same_space_is_named(manifest: Manifest) -> None:
    data = results((RSS, OURS, 1, 1.0), (RSS, RAW, 1, 2.0))
    assert page_runs(data, manifest, "d" * 64)[0].bundles == ()
    assert page_runs(data, manifest, "e" * 64)[0].bundles == (("mini", "d" * 64),)


def test_the_kept_results_are_read(manifest: Manifest) -> None:
    data = Path(__file__).parents[4].joinpath("bench/results.json").read_bytes()
    assert [run.is_quick for run in page_runs(data, manifest, "d" * 64)] == [False] * len(json.loads(data)["runs"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, "version: expected results of `nox -s bench` of version 2, found: Input should be 2"),
        ({"runs": [{}]}, "runs.0.name: expected results"),
        ({"runs": {}}, "runs: expected results"),
    ],
)
def test_what_is_no_results_is_refused(manifest: Manifest, change: dict[str, Any], message: str) -> None:
    data = json.dumps({**json.loads(results()), **change}).encode()
    with pytest.raises(UsageError) as caught:
        page_runs(data, manifest, "d" * 64)
    assert message in str(caught.value)


def test_what_is_no_json_or_has_no_number_is_refused(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (b"", b"[", results((RSS, OURS, 1, float("nan")))):
        with pytest.raises(UsageError, match="expected results of `nox -s bench`"):
            page_runs(data, manifest, "d" * 64)
    monkeypatch.setattr(benchmarks, "MAX_RESULTS_SIZE", 10)
    with pytest.raises(UsageError, match="expected results of at most 10 bytes, found more"):
        page_runs(results(), manifest, "d" * 64)
