from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bench import cli, shape_runs
from bench.budgets import judge_shapes
from bench.measure import Bench
from bench.processes import SubjectError
from bench.results import FIRST_VECTOR, RSS, SINGLES, Results, read_runs, throughput
from bench.shape_runs import COLD_PEAK, COLD_SECONDS, LONG, LONG_PEAK, QUICK, measure_shapes
from bench.shapes import SHAPES
from bench.subjects import SHAPE_SUBJECTS
from bench.table import SHAPES_BEGIN, SHAPES_END, report_shapes
from tests.bench.runs import FakeWorker, empty_results

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.materials import Materials
    from bench.subjects import Subject

SPEED = {"raw": 1.0, "fastembed": 1.0, "onnx-fp32": 1.3, "onnx-int8": 2.5}


def measured(**changes: Any) -> Results:
    """Return results of shapes that meet every budget."""
    results = empty_results(settings={"threads": 2}, **changes)
    for shape in SHAPES.values():
        results.add(COLD_SECONDS, shape.name, 0, 60)
        results.add(COLD_PEAK, shape.name, 0, 3e9)
    for subject in SHAPE_SUBJECTS:
        speed = SPEED[subject.way]
        for metric in (throughput("short", 1, 1), throughput("mixed", 1, 1), SINGLES, LONG):
            results.add(metric, subject.name, 0, 20 * speed)
        results.add(FIRST_VECTOR, subject.name, 0, 6 / speed)
        results.add(RSS, subject.name, 0, 1e9)
        results.add(LONG_PEAK, subject.name, 0, 300e6)
        results.agreement[subject.name] = 1.0
    return results


def test_the_budgets_of_shapes_are_met_or_not() -> None:
    results = measured()
    assert all(verdict.is_met for verdict in judge_shapes(results))
    results.add(LONG_PEAK, "bge-m3/onnx-fp32", 1, 900e6)
    (missed,) = [verdict.budget.what for verdict in judge_shapes(results) if not verdict.is_met]
    assert missed == "bge-m3: memory for one text of 8,192 tokens, onnx-fp32, above the loaded model"


def test_the_tables_say_what_was_measured_and_what_failed() -> None:
    results = measured()
    results.fail("", "bge-m3/fastembed", "MemoryError")
    text = report_shapes([(results, judge_shapes(results))])
    assert "In the shape of BAAI/bge-m3. A build of all variants from nothing took 60 s, and at most 3,000 MB." in text
    assert "| thoth-models onnx-int8 | 2.40 s, 0.400 x | 1,000 MB, 1 x | 50, 2.50 x | 50, 2.50 x |" in text
    assert "- bge-m3/fastembed: MemoryError" in text


class Fakes:
    """Takes the place of everything that starts processes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.encoded: list[str] = []
        self.lost = ""
        self.variants = ["onnx-fp32", "onnx-int8", "torch-fp32"]
        monkeypatch.setattr(shape_runs, "write_invented", lambda name, _places: self.encoded.append(f"write {name}"))
        monkeypatch.setattr(shape_runs, "prepare_bundle", self.bundle)
        monkeypatch.setattr(shape_runs, "prepare_environments", lambda *_: None)
        monkeypatch.setattr(shape_runs, "prepare_peers", lambda *_: None)
        monkeypatch.setattr(shape_runs, "token_counter", lambda _: len)
        monkeypatch.setattr(Bench, "start", lambda _, subject: _Worker(self, subject))
        monkeypatch.setattr(Bench, "compare_vectors", lambda *_: None)

    def bundle(self, name: str, materials: Materials) -> None:
        materials.bundles[name] = {"bundle_digest": "0", "variants": self.variants}


class _Worker(FakeWorker):
    def __init__(self, fakes: Fakes, subject: Subject) -> None:
        super().__init__(subject)
        self._fakes = fakes

    def encode(self, texts: Path, callers: int, calls: int) -> float:
        self._fakes.encoded.append(f"{self.subject.name} {texts.stem} {callers} {calls}")
        return 2.0

    def peak(self, texts: Path) -> dict[str, float]:
        if self.subject.name == self._fakes.lost:
            raise SubjectError("exit code -9")
        return {"before": 100, "peak": 350, "seconds": 4}


def test_each_shape_is_measured_beside_its_peers_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = Fakes(monkeypatch)
    fakes.lost = "bge-base/fastembed"
    results = empty_results(settings={"threads": 2})
    measure_shapes(["bge-base"], tmp_path, QUICK, results, lambda _: None)
    ways = ("raw", "fastembed", "onnx-fp32", "onnx-int8")
    assert results.values(throughput("short", 1, 1), "bge-base/onnx-fp32") == {0: 8.0, 1: 8.0}
    assert results.values(LONG, "bge-base/raw") == {0: 0.25}
    assert results.values(LONG_PEAK, "bge-base/onnx-int8") == {0: 250}
    assert results.reason("bge-base/fastembed", LONG) == "exit code -9"
    assert results.values(COLD_SECONDS, "bge-base").keys() == {0}
    assert {f"bge-base/{way} few 1 1" for way in ways} < set(fakes.encoded)
    assert {f"bge-base/{way} short 1 {count}" for way in ways for count in (1, 16)} < set(fakes.encoded)
    assert results.values(SINGLES, "bge-base/raw") == {0: 8.0, 1: 8.0}
    assert results.bundles["bge-base"]["bundle_digest"] == "0"
    assert [path.name for path in tmp_path.iterdir()] == ["environments"]


def test_a_build_that_lacks_a_variant_is_not_measured_as_one_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fakes(monkeypatch).variants = ["torch-fp32"]
    results = empty_results(settings={"threads": 2})
    measure_shapes(["bge-base"], tmp_path, QUICK, results, lambda _: None)
    assert not results.values(COLD_SECONDS, "bge-base")
    found = "expected onnx-fp32, onnx-int8, torch-fp32 in the bundle, found torch-fp32"
    assert results.reason("bge-base", COLD_SECONDS) == found


def test_weights_that_cannot_be_written_are_the_failure_of_that_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fakes(monkeypatch)

    def fail(*_: object) -> None:
        raise SubjectError("no space left")

    monkeypatch.setattr(shape_runs, "write_invented", fail)
    results = empty_results(settings={"threads": 2})
    measure_shapes(["bge-base"], tmp_path, QUICK, results, lambda _: None)
    assert not results.measurements
    assert results.reason("bge-base/raw", LONG) == "no space left"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{SHAPES_BEGIN}\nold\n{SHAPES_END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(cli, "PAGE", page)
    monkeypatch.setattr(cli, "SHAPE_RESULTS", tmp_path / "shapes.json")

    def measure(names: Sequence[str], *rest: Any) -> None:
        (name,) = names
        found = rest[2]
        found.measurements = [one for one in measured().measurements if one.subject.partition("/")[0] == name]
        found.agreement = {one.subject: 1.0 for one in found.measurements}
        found.bundles = {name: {"bundle_digest": f"of {name}", "variants": []}}

    monkeypatch.setattr(cli, "measure_shapes", measure)
    return page


def test_a_full_run_is_kept_and_stands_on_the_page(page: Path, tmp_path: Path) -> None:
    assert cli.main(["--shapes", "--work", str(tmp_path)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "failed" not in text
    (run,) = read_runs(tmp_path / "shapes.json")
    assert set(run.bundles) == set(SHAPES)
    assert all(verdict.is_met for verdict in judge_shapes(run))


def test_a_shape_that_is_measured_alone_takes_the_place_of_its_older_figures(page: Path, tmp_path: Path) -> None:
    assert cli.main(["--shapes", "--work", str(tmp_path)]) == 0
    (before,) = read_runs(tmp_path / "shapes.json")
    assert cli.main(["--shapes", "bge-m3", "--work", str(tmp_path)]) == 0
    (after,) = read_runs(tmp_path / "shapes.json")
    assert sorted(after.measurements, key=repr) == sorted(before.measurements, key=repr)
    assert "failed" not in page.read_text(encoding="utf-8")


def test_what_is_known_is_written_after_each_shape(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual: Callable[..., None] = vars(cli)["measure_shapes"]

    def measure(names: Sequence[str], *rest: Any) -> None:
        if names == ["bge-m3"]:
            raise KeyboardInterrupt
        usual(names, *rest)

    monkeypatch.setattr(cli, "measure_shapes", measure)
    with pytest.raises(KeyboardInterrupt):
        cli.main(["--shapes", "--work", str(tmp_path)])
    (run,) = read_runs(tmp_path / "shapes.json")
    assert set(run.bundles) == {"bge-base"}
    text = page.read_text(encoding="utf-8")
    assert "#### bge-base" in text
    assert "bge-m3" not in text
    assert "failed" not in text


def test_figures_of_other_versions_are_not_mixed(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(["--shapes", "--work", str(tmp_path)]) == 0
    monkeypatch.setattr(cli, "read_versions", lambda _: {"torch": "3.0"})
    assert cli.main(["--shapes", "bge-m3", "--work", str(tmp_path)]) == 0
    (run,) = read_runs(tmp_path / "shapes.json")
    assert set(run.bundles) == {"bge-m3"}


def test_a_quick_run_leaves_the_page_alone(page: Path, tmp_path: Path) -> None:
    before = page.read_text(encoding="utf-8")
    (tmp_path / "work").mkdir()
    assert cli.main(["--shapes", "--quick", "--work", str(tmp_path / "work")]) == 0
    assert page.read_text(encoding="utf-8") == before
    assert not (tmp_path / "shapes.json").exists()
