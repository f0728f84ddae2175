from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.findings import bounded
from thoth_models.bundle.digest import ContentDigest, Digest, hash_file
from thoth_models.errors import Problem
from thoth_models.verification.contents import check_contents, map_contents, read_compared, unread
from thoth_models.verification.regular_file import NotRegularError

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"a": b"first", "b": b"second" * 5000, "empty": b""}


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, ContentDigest]:
    digests = {}
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
        with (tmp_path / name).open("rb") as file:
            digests[name] = hash_file(file)
    return digests


def change(root: Path, name: str, data: bytes) -> None:
    (root / name).write_bytes(data)


@pytest.mark.parametrize("workers", [1, 4])
def test_content_that_is_as_expected(tmp_path: Path, expected: dict[str, ContentDigest], workers: int) -> None:
    assert check_contents(tmp_path, expected, workers=workers) == []
    contents, problems = map_contents(tmp_path, expected, workers=workers)
    assert problems == []
    assert {name: bytes(pages) for name, pages in contents.items()} == FILES


@pytest.mark.hostile
def test_other_content_is_found_by_reading_and_by_mapping(tmp_path: Path, expected: dict[str, ContentDigest]) -> None:
    change(tmp_path, "a", b"FIRST")
    change(tmp_path, "b", b"longer")
    (tmp_path / "empty").unlink()
    problems = sorted(check_contents(tmp_path, expected, workers=2), key=lambda problem: problem.path)
    assert [(problem.path, problem.kind, problem.found) for problem in problems] == [
        ("a", "changed", f"sha256 {Digest.of(b'FIRST')}"),
        ("b", "changed", "6 bytes"),
        ("empty", "missing", "nothing"),
    ]
    contents, mapped = map_contents(tmp_path, expected, workers=2)
    assert sorted(mapped, key=lambda problem: problem.path) == problems
    assert set(contents) == {"a"}


@pytest.mark.hostile
def test_what_was_mapped_is_what_was_compared(tmp_path: Path, expected: dict[str, ContentDigest]) -> None:
    contents, _ = map_contents(tmp_path, expected, workers=1)
    (tmp_path / "a").unlink()
    change(tmp_path, "a", b"OTHER")
    assert bytes(contents["a"]) == b"first"


@pytest.mark.hostile
def test_what_is_not_a_regular_file_is_named_and_never_waited_for(
    tmp_path: Path, expected: dict[str, ContentDigest]
) -> None:
    (tmp_path / "a").unlink()
    os.mkfifo(tmp_path / "a")
    (tmp_path / "b").unlink()
    (tmp_path / "b").symlink_to("empty")
    kinds = [("a", "special", "a FIFO"), ("b", "special", "a symlink")]
    for check in (
        lambda: check_contents(tmp_path, expected, workers=2),
        lambda: map_contents(tmp_path, expected, workers=2)[1],
    ):
        problems = bounded(check)
        assert sorted((problem.path, problem.kind, problem.found) for problem in problems) == kinds


def test_a_small_file_is_read_and_compared(tmp_path: Path, expected: dict[str, ContentDigest]) -> None:
    assert read_compared(tmp_path, "a", expected["a"]) == b"first"
    change(tmp_path, "a", b"FIRST")
    problem = read_compared(tmp_path, "a", expected["a"])
    assert isinstance(problem, Problem)
    assert (problem.kind, problem.expected) == ("changed", f"sha256 {Digest.of(b'first')}")
    change(tmp_path, "a", b"too long")
    problem = read_compared(tmp_path, "a", expected["a"])
    assert isinstance(problem, Problem)
    assert problem.found == "8 bytes"
    (tmp_path / "a").unlink()
    problem = read_compared(tmp_path, "a", expected["a"])
    assert isinstance(problem, Problem)
    assert problem.kind == "missing"


@pytest.mark.parametrize(
    ("error", "kind", "found"),
    [
        (FileNotFoundError(2, "No such file or directory"), "missing", "nothing"),
        (PermissionError(13, "Permission denied"), "unreadable", "Permission denied"),
        (NotRegularError("a socket"), "special", "a socket"),
    ],
)
def test_why_a_file_was_not_compared(error: Exception, kind: str, found: str) -> None:
    problem = unread("a", error)
    assert (problem.path, problem.kind, problem.found) == ("a", kind, found)
