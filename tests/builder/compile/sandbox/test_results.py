"""What a confined process leaves is taken by name, kind and length, or not at all."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from thoth_models_builder.compile.errors import SandboxError
from thoth_models_builder.compile.sandbox.results import measured, remove_tree, take_results

PATTERNS = {r"model/golden\.json": 10, r"work/[a-z]+\.npy": 3}


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    made = tmp_path / "scratch"
    (made / "model").mkdir(parents=True)
    (made / "model" / "golden.json").write_bytes(b"golden")
    return made


def test_expected_files_are_moved_and_others_stay(scratch: Path, tmp_path: Path) -> None:
    (scratch / "home").mkdir()
    (scratch / "home" / "cache").write_bytes(b"x" * 1000)
    (scratch / "model" / "other").write_bytes(b"x")
    assert take_results(scratch, tmp_path / "job", PATTERNS, frozenset()) == ["model/golden.json"]
    assert (tmp_path / "job/model/golden.json").read_bytes() == b"golden"
    assert (tmp_path / "job/model/golden.json").stat().st_mode & 0o777 == 0o644
    assert not (tmp_path / "job" / "home").exists()


@pytest.mark.hostile
def test_a_symlink_in_the_place_of_a_result_is_refused(scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (scratch / "model" / "golden.json").unlink()
    (scratch / "model" / "golden.json").symlink_to(tmp_path / "secret")
    with pytest.raises(SandboxError, match=r"model/golden\.json: expected a regular file .* found a symlink"):
        take_results(scratch, tmp_path / "job", PATTERNS, frozenset())
    assert not (tmp_path / "job").exists()
    # Unless it is one that the builder itself has made.
    assert take_results(scratch, tmp_path / "job", PATTERNS, frozenset({"model/golden.json"})) == []


@pytest.mark.hostile
def test_a_directory_that_is_a_symlink_is_refused(scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.npy").write_bytes(b"x")
    (scratch / "work").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SandboxError, match=r"work: expected a regular file .* found a symlink"):
        take_results(scratch, tmp_path / "job", PATTERNS, frozenset())


@pytest.mark.hostile
def test_a_pipe_and_a_second_name_are_refused(scratch: Path, tmp_path: Path) -> None:
    os.mkfifo(scratch / "pipe")
    with pytest.raises(SandboxError, match=r"pipe: .* found something else"):
        take_results(scratch, tmp_path / "job", PATTERNS, frozenset())
    (scratch / "pipe").unlink()
    (scratch / "again").hardlink_to(scratch / "model" / "golden.json")
    with pytest.raises(SandboxError, match="found a file with several names"):
        take_results(scratch, tmp_path / "job", PATTERNS, frozenset())


@pytest.mark.hostile
def test_a_result_that_is_too_long_is_refused(scratch: Path, tmp_path: Path) -> None:
    (scratch / "model" / "golden.json").write_bytes(b"x" * 11)
    with pytest.raises(SandboxError, match=r"model/golden\.json: expected at most 10 bytes, found 11"):
        take_results(scratch, tmp_path / "job", PATTERNS, frozenset())


@pytest.mark.hostile
def test_a_file_that_is_replaced_while_it_is_taken_is_refused(
    scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secret").chmod(0o600)
    replace = Path.replace

    def exchanged(path: Path, target: Path) -> None:
        path.unlink()
        path.symlink_to(tmp_path / "secret")
        replace(path, target)

    monkeypatch.setattr(Path, "replace", exchanged)
    with pytest.raises(OSError, match="symbolic links"):
        take_results(scratch, tmp_path / "job", PATTERNS, frozenset())
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.hostile
def test_every_file_that_the_code_leaves_is_counted(scratch: Path) -> None:
    size, entries, depth = measured(scratch)
    assert (entries, depth) == (2, 1)
    assert size >= 6


@pytest.mark.hostile
def test_a_file_is_as_long_as_what_it_takes_of_the_disk(scratch: Path) -> None:
    keep_size = 1
    with (scratch / "reserved").open("wb") as file:
        if ctypes.CDLL(None).fallocate(file.fileno(), keep_size, ctypes.c_long(0), ctypes.c_long(2**20)):
            pytest.skip("this file system does not reserve space")
    assert (scratch / "reserved").stat().st_size == 0
    assert measured(scratch)[0] >= 2**20


@pytest.mark.hostile
def test_a_tree_with_links_is_removed_and_what_they_lead_to_stays(scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (scratch / "link").symlink_to(tmp_path / "kept")
    (scratch / "model" / "closed").mkdir(mode=0)
    remove_tree(scratch)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
