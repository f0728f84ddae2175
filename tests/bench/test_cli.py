from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench import cli
from bench.cells import CELLS, count_operations
from bench.results import FIRST_VECTOR, SINGLES, read_runs, throughput, to_json
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


@pytest.mark.onnx
def test_operations_are_counted_for_the_texts_of_each_cell(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    config = {"hidden_size": 2, "intermediate_size": 8, "num_hidden_layers": 1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 3}')
    words = {1: "one", 2: "one two", 3: "one two three", 9: "one two three four"}
    texts = {"one": {"short": [words[1]], "long": [words[9]], "mixed": [words[1], words[3]]}}
    texts["many"] = {"short": [words[2]], "long": [words[3]], "mixed": [words[2]]}
    texts["single"] = {"short": [words[1], words[1]]}
    counted = cli.operations(tmp_path, texts)
    assert set(counted) == set(CELLS.values())
    of = {length: count_operations(config, [length]) for length in (1, 2, 3)}
    assert counted[throughput("long", 1, 1)] == of[3]
    assert counted[throughput("mixed", 1, 1)] == (of[1] + of[3]) / 2
    assert counted[throughput("short", 8, 8)] == of[2]
    assert counted[SINGLES] == of[1]
