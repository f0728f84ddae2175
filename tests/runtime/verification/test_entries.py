from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.findings import bounded
from thoth_models.verification.entries import check_tree, parents, reason

if TYPE_CHECKING:
    from pathlib import Path

EXPECTED = {"mini/source/a", "mini/source/deep/b", "mini/golden.json"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in EXPECTED:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    return tmp_path


def found(root: Path, below: str = "", expected: set[str] = EXPECTED) -> list[tuple[str, str, str]]:
    problems = bounded(lambda: list(check_tree(root, below, expected)))
    return sorted((problem.path, problem.kind, problem.found) for problem in problems)


def test_a_tree_that_is_as_expected(root: Path) -> None:
    assert found(root) == []
    assert found(root, "mini/source", {"mini/source/a", "mini/source/deep/b"}) == []


def test_what_lies_elsewhere_does_not_count(root: Path) -> None:
    (root / "mini/extra").write_bytes(b"x")
    assert found(root, "mini/source", {"mini/source/a", "mini/source/deep/b"}) == []


@pytest.mark.hostile
def test_extra_and_missing_entries_are_named_each_once(root: Path) -> None:
    (root / "mini/source/a").unlink()
    (root / "mini/extra").mkdir()
    (root / "mini/extra/inside").write_bytes(b"x")
    assert found(root) == [("mini/extra", "extra", "a directory"), ("mini/source/a", "missing", "nothing")]


@pytest.mark.hostile
def test_links_and_special_files_are_named_and_not_followed(root: Path) -> None:
    (root / "mini/source/a").unlink()
    (root / "mini/source/a").symlink_to("deep/b")
    (root / "mini/golden.json").unlink()
    os.mkfifo(root / "mini/golden.json")
    (root / "mini/loop").symlink_to(".")
    assert found(root) == [
        ("mini/golden.json", "special", "a FIFO"),
        ("mini/loop", "extra", "a symlink"),
        ("mini/source/a", "special", "a symlink"),
    ]


@pytest.mark.hostile
def test_a_link_in_the_place_of_a_directory_on_the_way(root: Path) -> None:
    (root / "mini").rename(root / "elsewhere")
    (root / "mini").symlink_to("elsewhere")
    expected = {"mini/source/a", "mini/source/deep/b"}
    assert found(root, "mini/source", expected) == [("mini", "special", "a symlink")]
    (root / "mini").unlink()
    assert found(root, "mini/source", expected) == [("mini", "missing", "nothing")]


@pytest.mark.hostile
def test_names_are_escaped_for_terminals(root: Path) -> None:
    (root / "a\x1b[2J").write_bytes(b"x")
    assert found(root) == [("a\\x1b[2J", "extra", "a file")]


def test_a_directory_that_cannot_be_listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scan(path: Path) -> object:
        if path.name == "source":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scan)
    assert ("mini/source", "unreadable", "Permission denied") in found(root)


def test_the_parents_of_paths() -> None:
    assert parents(EXPECTED) == {"mini", "mini/source", "mini/source/deep"}
    assert parents(["top"]) == set()


def test_the_reason_of_a_failure_is_what_the_system_says() -> None:
    assert reason(OSError(5, "Input/output error")) == "Input/output error"
    assert reason(TimeoutError()) == "TimeoutError"
