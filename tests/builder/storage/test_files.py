"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.support.full_disk import LONG, little_space
from thoth_models_builder.storage.files import FILE_MODE, clone_or_copy, replace_file, replacing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
