from __future__ import annotations

import os
import socket
import stat
from functools import partial
from pathlib import Path

import pytest

from tests.support.findings import bounded
from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models.errors import Problem
from thoth_models.verification.regular_file import NotRegularError, RegularFile, kind_of, mode_of, read_small


def count_descriptors() -> int:
    directory = Path("/proc/self/fd")
    return len(list(directory.iterdir())) if directory.is_dir() else 0


def test_a_plain_file_is_opened_and_closed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    with RegularFile(tmp_path, "file") as file:
        assert (file.path, file.size) == ("file", 3)
        assert os.pread(file.descriptor, 10, 0) == b"abc"
        assert not os.get_inheritable(file.descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file.descriptor)


@pytest.mark.hostile
def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    with RegularFile(tmp_path, "file") as file:
        assert file.wrong_size(ContentDigest(size=3, sha256=Digest.of(b""))) is None
        assert file.wrong_size(ContentDigest(size=4, sha256=Digest.of(b""))) == Problem(
            kind="changed", path="file", expected="4 bytes", found="3 bytes"
        )


@pytest.mark.hostile
def test_other_kinds_of_files_are_named_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.chdir(tmp_path)  # the address of a Unix socket has room for about 100 characters
    before = count_descriptors()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        kinds = {
            "link": "a symlink",
            "dangling": "a symlink",
            "directory": "a directory",
            "fifo": "a FIFO",
            "socket": "a socket",
        }
        for name, kind in kinds.items():
            with pytest.raises(NotRegularError, match=f"^{kind}$"):
                bounded(partial(RegularFile, tmp_path, name))
            assert kind_of(mode_of(tmp_path / name)) == kind
    assert count_descriptors() == before


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RegularFile(tmp_path, "nothing")
    assert mode_of(tmp_path / "nothing") is None
    assert kind_of(None) == "nothing"


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        (stat.S_IFREG | 0o644, "a file"),
        (stat.S_IFBLK, "a block device"),
        (stat.S_IFCHR, "a character device"),
        (0, "something else"),
    ],
)
def test_kinds_in_words(mode: int, kind: str) -> None:
    assert kind_of(mode) == kind


def test_a_small_file_is_read_through_symlinks(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    assert read_small(tmp_path / "link", 5) == b"12345"
    for name, said in {"link": "expected at most 4 bytes, found 5", "fifo": "found a FIFO", ".": "a directory"}.items():
        with pytest.raises(FormatError, match=said):
            read_small(tmp_path / name, 4)
    with pytest.raises((OSError, FormatError)):
        read_small(tmp_path / "loop", 5)
    with pytest.raises(FileNotFoundError):
        read_small(tmp_path / "absent", 5)
