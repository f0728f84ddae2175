from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.projects import snapshot
from thoth_models.bundle.accuracy import Accuracy
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.report import Report
from thoth_models_builder.bundle.write_report import refuse_foreign_report, write_report
from thoth_models_builder.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

DIGEST, OTHER = Digest.of(b"bundle"), Digest.of(b"other")
FIGURES = {
    "mini": {
        "onnx-fp32": Accuracy(minimum_cosine=1.0, mean_cosine=1.0, largest_difference=0.0, neighbour_agreement=1.0)
    }
}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "bundle").mkdir()
    return tmp_path / "bundle"


def test_a_report_is_written_beside_the_bundle(output: Path) -> None:
    path = write_report(output, DIGEST, {**FIGURES, "unmeasured": {}})
    assert path == output.with_name("bundle.report.json")
    assert Report.from_bytes(path.read_bytes()) == Report(bundle_digest=DIGEST, models=FIGURES)
    assert sorted(entry.name for entry in output.parent.iterdir()) == ["bundle", "bundle.report.json"]


def test_the_same_report_is_not_written_again(output: Path) -> None:
    write_report(output, DIGEST, FIGURES)
    before = snapshot(output.parent)
    assert write_report(output, DIGEST, FIGURES) == output.with_name("bundle.report.json")
    assert snapshot(output.parent) == before


@pytest.mark.parametrize(
    "data",
    [
        b'{"version": 9, "bundle_digest": "of another release", "models": []}',
        Report(bundle_digest=OTHER, models=FIGURES).to_bytes(),
    ],
)
def test_an_earlier_report_is_replaced(output: Path, data: bytes) -> None:
    path = output.with_name("bundle.report.json")
    path.write_bytes(data)
    refuse_foreign_report(output)
    write_report(output, DIGEST, FIGURES)
    assert Report.from_bytes(path.read_bytes()).bundle_digest == DIGEST


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"notes", "another file"),
        (b"[" * 100_000, "another file"),
        (b"7", "another file"),
        (b"{}", "another file"),
        (b'["version", "bundle_digest", "models"]', "another file"),
        (b'{"bundle_digest": "", "models": []}', "another file"),  # of `thoth-bundle build --json`
    ],
)
def test_a_report_does_not_replace_a_file_of_someone_else(output: Path, data: bytes, found: str) -> None:
    path = output.with_name("bundle.report.json")
    path.write_bytes(data)
    with pytest.raises(OutputError, match=rf"bundle\.report\.json: expected the report of .+, found {found}"):
        refuse_foreign_report(output)
    assert path.read_bytes() == data


@pytest.mark.hostile
def test_a_symlink_in_the_place_of_a_report_is_refused(output: Path) -> None:
    output.with_name("bundle.report.json").symlink_to(output.with_name("elsewhere"))
    with pytest.raises(OutputError, match="found a symlink"):
        refuse_foreign_report(output)


def test_a_directory_in_its_place_is_refused_and_nothing_is_not(output: Path) -> None:
    refuse_foreign_report(output)
    output.with_name("bundle.report.json").mkdir()
    with pytest.raises(OutputError, match="found Is a directory"):
        refuse_foreign_report(output)


def test_a_bundle_of_which_nothing_was_measured_has_none(output: Path) -> None:
    assert write_report(output, DIGEST, {}) is None
    assert list(output.parent.iterdir()) == [output]
    write_report(output, OTHER, FIGURES)
    assert write_report(output, DIGEST, {"mini": {}}) is None
    assert list(output.parent.iterdir()) == [output]


def test_a_report_that_cannot_be_written(output: Path) -> None:
    (output.with_name("bundle.report.json") / "in the way").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"bundle\.report\.json: cannot be written: "):
        write_report(output, DIGEST, FIGURES)
