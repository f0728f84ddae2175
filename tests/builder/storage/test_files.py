"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.full_disk import LONG, little_space
from tests.support.objects import fail_with
from thoth_models_builder.storage import files
from thoth_models_builder.storage.files import (
    FILE_MODE,
    clone_or_copy,
    remove_leftovers,
    replace_file,
    replacing,
    temporary_directory,
)

if TYPE_CHECKING:
    from collections.abc import Callable

LEFT_DIRECTORY = "thoth-bundle-0123456789abcdef-12345678"


def test_two_processes_of_the_same_number_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In containers that share a directory, both may be process 1."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    path = tmp_path / "file"
    with replacing(path) as first:
        first.write(b"one, ")
        with replacing(path) as second:
            second.write(b"two")
        assert path.read_bytes() == b"two"
        first.write(b"whole")
    assert path.read_bytes() == b"one, whole"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"before")
    with contextlib.suppress(KeyboardInterrupt), replacing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_mode_is_what_the_user_wants_of_new_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o604)
    replace_file(path, b"new")
    assert (stat.S_IMODE(path.stat().st_mode), path.read_bytes()) == (0o604, b"new")


def write_piecewise(path: Path, data: bytes) -> None:
    with replacing(path) as file:
        file.write(data)


@pytest.mark.parametrize("write", [replace_file, write_piecewise])
def test_a_disk_that_takes_a_part_of_it_is_an_error(tmp_path: Path, write: Callable[[Path, bytes], None]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(OSError, match="File too large"), little_space():
        write(path, LONG)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_copy_is_read_only_and_has_all_of_the_file(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "source").write_bytes(data)
    clone_or_copy(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == data
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == FILE_MODE
    assert (tmp_path / "target").stat().st_ino != (tmp_path / "source").stat().st_ino
    with pytest.raises(FileExistsError):
        clone_or_copy(tmp_path / "source", tmp_path / "target")


# --- what killed processes left ---


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "models.lock"
    left = tmp_path / ".models.lock.0123456789abcdef"
    names = [".models.lock.swp", ".models.lock.0123456789abcdeg", ".models.lock.0123456789abcdef0"]
    names += ["models.lock.0123456789abcdef", ".models.lock2.0123456789abcdef"]
    others = [tmp_path / name for name in names]
    directory = tmp_path / ".models.lock.aaaaaaaaaaaaaaaa"
    directory.mkdir()
    link = tmp_path / ".models.lock.bbbbbbbbbbbbbbbb"
    link.symlink_to(others[0])
    for one in (left, *others):
        one.write_bytes(b"x")
    replace_file(path, b"new")
    assert not left.exists()
    assert sorted(tmp_path.iterdir()) == sorted([path, *others, directory, link])


def test_what_a_writer_is_writing_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with replacing(path) as file:
        file.write(b"whole")
        file.flush()
        remove_leftovers(path)
        assert len(list(tmp_path.iterdir())) == 1
    assert path.read_bytes() == b"whole"


@pytest.mark.parametrize(("where", "what"), [(Path, "iterdir"), (files, "open_regular")])
def test_what_cannot_be_removed_stays_and_does_not_keep_a_file_from_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, what: str
) -> None:
    """Of a directory that may be written but not listed, and of a file that its mode keeps from its owner."""
    left = tmp_path / ".file.0123456789abcdef"
    left.touch()
    (tmp_path / LEFT_DIRECTORY).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(where, what, fail_with(errno.EACCES))
        replace_file(tmp_path / "file", b"whole")
        with temporary_directory() as directory:
            assert directory.exists()
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert left.exists()


def test_a_file_that_is_removed_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_lock = fcntl.flock
    removed: list[Path] = []

    def remove_first(file: Any, operation: int) -> None:
        if not removed:
            removed.extend(tmp_path.iterdir())
            removed[0].unlink()
        real_lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    replace_file(tmp_path / "file", b"whole")
    assert len(removed) == 1
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"whole"]


def test_without_lock_support_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process is writing cannot be told from what one left."""
    left = tmp_path / ".file.0123456789abcdef"
    left.touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / LEFT_DIRECTORY).mkdir()
    monkeypatch.setattr(fcntl, "flock", fail_with(errno.ENOLCK))
    replace_file(tmp_path / "file", b"whole")
    with temporary_directory():
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [left.name, "file", LEFT_DIRECTORY]


def test_directories_that_killed_processes_left_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, link = tmp_path / LEFT_DIRECTORY, tmp_path / f"{LEFT_DIRECTORY[:-1]}9"
    (left / "layout").mkdir(parents=True)
    others = [tmp_path / name for name in ("thoth-bundle-mine", f"{LEFT_DIRECTORY}2", "other")]
    for other in others:
        other.mkdir()
    link.symlink_to(others[0])
    with temporary_directory() as first, temporary_directory() as second:
        assert first != second
        assert first.exists()
        assert not left.exists()
    assert sorted(tmp_path.iterdir()) == sorted([*others, link])


@pytest.mark.parametrize("name", ["thoth-bundle-20261130", "thoth-bundle-original", "thoth-bundle-snapshot"])
def test_a_directory_of_the_user_is_not_taken_for_one_that_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A date and many words are as long as what Python adds to the name of a temporary directory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / name).mkdir()
    with temporary_directory():
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_directory_that_is_removed_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    real_lock = fcntl.flock
    removed: list[Path] = []

    def remove_first(file: Any, operation: int) -> None:
        if not removed:
            removed.extend(tmp_path.iterdir())
            removed[0].rmdir()
        real_lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with temporary_directory() as directory:
        assert directory.exists()
        assert directory not in removed
    assert list(tmp_path.iterdir()) == []
