from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import cli
from bench.results import FIRST_VECTOR, read_runs, to_json
from bench.table import BEGIN, END
from tests.bench.runs import OLDER, make_results, scaled

if TYPE_CHECKING:
    from pathlib import Path

    from bench.results import Results


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the newest results are."""
    file = tmp_path / "new.json"
    monkeypatch.setattr(cli, "RESULTS", file)
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    return file


def save(results: Results, file: Path) -> Path:
    file.write_text(to_json([results.to_document([])]), encoding="utf-8")
    return file


def test_nothing_worse_is_success(new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = save(make_results(slowness=2), tmp_path / "old.json")
    save(make_results(), new)
    assert cli.main(["--compare", str(old), "--no-measure"]) == 0
    assert "0 of" in capsys.readouterr().out


def test_something_worse_is_listed_and_is_a_failure(
    new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = save(make_results(), tmp_path / "old.json")
    save(scaled(make_results(), "mini/onnx-fp32", FIRST_VECTOR, 1.5), new)
    assert cli.main(["--compare", str(old), "--no-measure"]) == 1
    out = capsys.readouterr().out
    assert "WORSE mini/onnx-fp32: first vector, to raw: 0.040 before, 0.060 now" in out
    assert "1 of" in out


def test_budgets_that_are_missed_are_said_and_are_no_failure(new: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(scaled(make_results(), "mini/onnx-fp32", FIRST_VECTOR, 9), new)
    assert cli.main(["--no-measure"]) == 0
    assert "**no**" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, "{}", "not json", '{"version": 1}'])
def test_older_results_that_cannot_be_read_are_bad_usage(
    content: str | None, new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(make_results(), new)
    old = tmp_path / "old.json"
    if content is not None:
        old.write_text(content, encoding="utf-8")
    assert cli.main(["--compare", str(old), "--no-measure"]) == 2
    assert capsys.readouterr().out.startswith("error: ")


def test_a_run_of_another_kind_of_processor_is_not_compared(
    new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = save(make_results(machine=OLDER), tmp_path / "old.json")
    save(make_results(), new)
    assert cli.main(["--compare", str(old), "--no-measure"]) == 2
    out = capsys.readouterr().out
    assert "expected older results of a processor with AVX-512 with VNNI, found An Older Processor" in out


def test_a_full_run_stands_beside_those_of_other_machines(
    new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    monkeypatch.setattr(cli, "PAGE", page)
    monkeypatch.setattr(cli, "draw", lambda *_: None)
    save(make_results(machine=OLDER), new)
    monkeypatch.setattr(cli, "measure", lambda *_, **__: make_results())
    assert cli.main(["--work", str(tmp_path)]) == 0
    assert [run.machine["processor"] for run in read_runs(new)] == ["Some Processor", "An Older Processor"]
    assert "### An Older Processor, 2 cores (avx2)" in page.read_text(encoding="utf-8")


def test_without_results_there_is_nothing_to_compare(new: Path) -> None:
    assert not new.exists()
    assert cli.main(["--no-measure"]) == 2
