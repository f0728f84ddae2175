from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import invented_model, make_bundle, make_writable, measure
from tests.support.findings import bounded
from thoth_models.bundle.digest import Digest
from thoth_models.verification import report_file
from thoth_models.verification.report_file import FoundReport, read_report, report_path
from thoth_models.verification.verify import open_bundle, verify

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    make_bundle(tmp_path / "bundle", [invented_model("mini")], default="mini")
    yield tmp_path / "bundle"
    make_writable(tmp_path / "bundle")


def found_at(root: Path) -> FoundReport:
    bundle = open_bundle(root)
    return read_report(bundle.root, bundle.bundle_digest)


def test_the_report_of_a_bundle_is_read_and_leaves_it_intact(root: Path) -> None:
    manifest = verify(root, strict=True).manifest
    measure(root, manifest, minimum_cosine=0.75)
    report, note = found_at(root)
    assert note is None
    assert report is not None
    accuracy = report.of("mini", "torch-fp32")
    assert accuracy is not None
    assert accuracy.minimum_cosine == 0.75
    verify(root, strict=True)


def test_a_bundle_without_a_report(root: Path) -> None:
    assert found_at(root) == (None, None)


def test_it_is_found_through_a_symlink_to_the_bundle(root: Path) -> None:
    measure(root, verify(root).manifest)
    current = root.with_name("current")
    current.symlink_to(root)
    assert found_at(current).report is not None


@pytest.mark.hostile
def test_the_report_of_another_bundle_is_ignored_with_a_note(root: Path) -> None:
    other = Digest.of(b"other")
    path = measure(root, verify(root).manifest, bundle_digest=other)
    report, note = found_at(root)
    assert report is None
    digest = open_bundle(root).bundle_digest
    assert note == f"{path}: ignored: expected the report of the bundle {digest.short}, found that of {other.short}"


@pytest.mark.hostile
@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory", "malformed", "large"])
def test_what_is_not_a_report_is_ignored_and_never_waited_for(
    root: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = measure(root, verify(root).manifest)
    expected = {
        "symlink": "expected a regular file, found a symlink",
        "fifo": "expected a regular file, found a FIFO",
        "directory": "expected a regular file, found a directory",
        "malformed": "expected JSON in UTF-8",
        "large": "expected at most 10 bytes, found ",
    }
    if kind == "symlink":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to(path.with_name("elsewhere"))
    elif kind == "malformed":
        path.write_bytes(b"\xff")
    elif kind == "large":
        monkeypatch.setattr(report_file, "MAX_REPORT", 10)
    else:
        path.unlink()
        if kind == "fifo":
            os.mkfifo(path)
        else:
            path.mkdir()
    report, note = bounded(lambda: found_at(root))
    assert report is None
    assert note is not None
    assert note.startswith(f"{path}: ignored: {expected[kind]}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_report_that_cannot_be_read_is_ignored(root: Path) -> None:
    path = measure(root, verify(root).manifest)
    path.chmod(0)
    assert found_at(root) == (None, f"{path}: ignored: expected a readable file, found: Permission denied")


def test_a_report_lies_beside_its_bundle() -> None:
    assert report_path(Path("/some/bundle")) == Path("/some/bundle.report.json")
    assert report_path(Path("/models")) == Path("/models.report.json")
    assert report_path(Path("/some/v1.2")) == Path("/some/v1.2.report.json")
    assert report_path(Path("/")) == Path("/.report.json")
