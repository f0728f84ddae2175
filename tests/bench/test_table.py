from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.budgets import judge
from bench.table import BEGIN, END, report, report_all, write_page
from tests.bench.runs import OLDER, make_results, scaled, without

if TYPE_CHECKING:
    from pathlib import Path

    from bench.results import Results


THROUGHPUT = "throughput of short texts, one caller"


def reported(results: Results) -> str:
    return report(results, judge(results))


def line_of(text: str, *parts: str) -> str:
    (line,) = [line for line in text.splitlines() if all(part in line for part in parts)]
    return line


def test_the_table_of_budgets_shows_figure_and_verdict() -> None:
    results = scaled(make_results(), "mini/onnx-int8", THROUGHPUT, 0.5)
    line = line_of(reported(results), "encode throughput, onnx-int8")
    assert "at least 5 (AVX-512 with VNNI)" in line
    assert "2.75 (2.75 to 2.75)" in line
    assert line.endswith("| **no** |")
    assert line_of(reported(results), "encode throughput, onnx-fp32").endswith("| yes |")


def test_machines_stand_side_by_side() -> None:
    runs = [make_results(), scaled(make_results(machine=OLDER), "mini/onnx-int8", THROUGHPUT, 0.3)]
    text = report_all([(run, judge(run)) for run in runs])
    table = text.partition("\n### Some Processor")[0]
    assert "| Some Processor (AVX-512 with VNNI) | An Older Processor (AVX2 alone) |" in table
    line = line_of(table, "encode throughput, onnx-int8")
    assert "at least 5 (AVX-512 with VNNI); at least 2.30 (AVX2 alone) | 5.50 | 1.65 (**not met**) |" in line
    assert "- instruction sets: avx2, avx512f, avx512_vnni: AVX-512 with VNNI" in text
    assert "- instruction sets: avx2: AVX2 alone" in text


def test_subjects_are_shown_with_their_ratio_to_sentence_transformers() -> None:
    lines = [line for line in reported(make_results()).splitlines() if line.startswith("| fastembed |")]
    assert "0.660 s (0.630 s to 0.690 s), 0.120 x" in lines[0]
    assert lines[0].endswith("| 1.000000 |")


def test_what_failed_is_shown_with_its_reason() -> None:
    results = without(make_results(), "mini/openvino")
    del results.agreement["mini/openvino"]
    results.fail("", "mini/openvino", "could not be installed: no such index")
    text = reported(results)
    assert "- mini/openvino: could not be installed: no such index" in text
    assert text.count("| OpenVINO (fp32) | failed |") == 4


def test_the_synthetic_model_and_a_quick_run_are_called_so() -> None:
    assert "### synthetic: random weights" in reported(make_results())
    assert "quick run" not in reported(make_results())
    assert "quick run" in reported(make_results(is_quick=True))


def test_the_page_keeps_everything_but_what_is_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nafter\n", encoding="utf-8")
    write_page(page, "new")
    write_page(page, "newer")
    assert page.read_text(encoding="utf-8") == f"# Title\n\n{BEGIN}\n\nnewer\n\n{END}\n\nafter\n"


@pytest.mark.parametrize("text", ["nothing", f"{BEGIN} only", f"{END} {BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_page_without_both_markers_is_left_alone(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="each once and in order"):
        write_page(page, "new")
    assert page.read_text(encoding="utf-8") == text
