from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import types
from pathlib import Path
from typing import Any

import pytest

from tests.support.projects import contents, snapshot
from tests.support.trees import FILES, Objects, write
from thoth_models.bundle.digest import Digest
from thoth_models.errors import VerificationError
from thoth_models.verification.verify import verify
from thoth_models_builder.bundle import write_tree
from thoth_models_builder.errors import OutputError

# --- the tree ---


def test_a_bundle_has_its_files_and_nothing_else(objects: Objects, place: Path) -> None:
    report = write_tree.write_bundle(objects.manifest, objects.locate, place / "bundle")
    assert contents(place / "bundle") == {
        **FILES,
        "manifest.json": objects.manifest.to_bytes(),
        "SHA256SUMS": objects.manifest.checksums(),
    }
    assert list(place.iterdir()) == [place / "bundle"]
    assert report.bundle_digest == Digest.of(objects.manifest.to_bytes())
    assert report.warnings == ()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_modes_do_not_depend_on_the_umask(umask: int, objects: Objects, place: Path) -> None:
    before = os.umask(umask)
    try:
        write(objects, place / "bundle")
    finally:
        os.umask(before)
    for path, entry in snapshot(place / "bundle").items():
        expected = stat.S_IFREG | 0o444 if isinstance(entry.content, bytes) else stat.S_IFDIR | 0o555
        assert (path, oct(entry.mode)) == (path, oct(expected))
        assert entry.owner == os.geteuid()


def test_the_checksum_list_alone_can_check_a_bundle(objects: Objects, place: Path) -> None:
    write(objects, place / "bundle")
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    finished = subprocess.run(command, cwd=place / "bundle", capture_output=True, text=True, check=False)
    assert finished.returncode == 0
    assert len(finished.stdout.splitlines()) == len(FILES) + 1


def test_with_links_the_bytes_are_on_the_disk_once(objects: Objects, place: Path) -> None:
    write(objects, place / "bundle", link=True)
    for path in FILES:
        assert (place / "bundle" / path).samefile(objects.locate(path))


def test_an_object_that_may_be_written_may_not_any_more_once_it_is_in_a_bundle(objects: Objects, place: Path) -> None:
    objects.locate("mini/a/b/c").chmod(0o664)
    write(objects, place / "bundle", link=True)
    assert stat.S_IMODE((place / "bundle/mini/a/b/c").stat().st_mode) == 0o444


def no_link(*_arguments: object, **_options: object) -> None:
    raise OSError(errno.EXDEV, "Invalid cross-device link")


@pytest.mark.parametrize("link", [True, False])
@pytest.mark.parametrize("can_clone", [True, False])
def test_where_nothing_can_or_may_be_linked_it_is_cloned_or_copied(
    *, can_clone: bool, link: bool, objects: Objects, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[int] = []

    def clone(target: Any, request: int, source: int) -> None:
        requests.append(request)
        if not can_clone:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        # What the kernel does, but for sharing the blocks.
        target.write(os.pread(source, 1000, 0))

    monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(fcntl, "ioctl", clone)
    if can_clone:
        monkeypatch.setattr(shutil, "copyfileobj", lambda *_: pytest.fail("copied what was cloned"))
    write(objects, place / "bundle", link=link)
    assert requests == [0x40049409] * len(FILES)
    verify(place / "bundle", strict=True)
    for path in FILES:
        copy = place / "bundle" / path
        assert not copy.samefile(objects.locate(path))
        assert stat.S_IMODE(copy.stat().st_mode) == 0o444


# --- moving it into place ---


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("before", ["nothing", "empty directory", "bundle"])
def test_a_bundle_takes_its_place_and_leaves_nothing_beside_it(
    *, can_exchange: bool, before: str, objects: Objects, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_exchange:
        monkeypatch.setattr(write_tree, "_exchange", lambda *_: False)
    output = place / "bundle"
    if before == "empty directory":
        output.mkdir()
    elif before == "bundle":
        write(Objects(tmp_path / "older", {"old/file": b"old"}), output)
    write(objects, output)
    assert list(place.iterdir()) == [output]
    assert verify(output, strict=True).manifest == objects.manifest


def test_a_previous_bundle_comes_back_where_the_second_of_two_steps_fails(
    objects: Objects, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = place / "bundle"
    write(Objects(tmp_path / "older", {"old/file": b"old"}), output)
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path.name.endswith(".building") and "previous" not in path.name:
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(write_tree, "_exchange", lambda *_: False)
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match="Input/output error"):
        write(objects, output)
    assert list(place.iterdir()) == [output]
    assert list(verify(output).manifest.files) == ["old/file"]


def test_names_are_exchanged_in_one_step(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    inode = (tmp_path / "one").stat().st_ino
    assert write_tree._exchange(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "two").stat().st_ino == inode
    assert not write_tree._exchange(tmp_path / "one", tmp_path / "three")


def test_a_system_without_exchange_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_tree.ctypes, "CDLL", lambda _name: types.SimpleNamespace())  # type: ignore[attr-defined]
    assert not write_tree._exchange(tmp_path / "one", tmp_path / "two")


def test_a_bundle_that_does_not_verify_never_takes_the_place_of_the_previous_one(
    objects: Objects, tmp_path: Path, place: Path
) -> None:
    output = place / "bundle"
    write(objects, output)
    before = snapshot(place)
    damaged = Objects(tmp_path / "damaged", {**FILES, "mini/more": b"more"})
    damaged.locate("mini/more").chmod(0o644)
    damaged.locate("mini/more").write_bytes(b"less")
    with pytest.raises(VerificationError, match="mini/more: changed: expected sha256"):
        write(damaged, output)
    assert snapshot(place).keys() == before.keys()
    assert {path: entry for path, entry in snapshot(place).items() if path != "."} == {
        path: entry for path, entry in before.items() if path != "."
    }


def test_what_is_written_is_verified_strictly(objects: Objects, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_tree, "FILE_MODE", 0o666)
    with pytest.raises(VerificationError, match="writable"):
        write(objects, place / "bundle")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "cannot be written: No space left on device"),
        (OSError(errno.EACCES, "Permission denied", "/x"), "cannot be written: Permission denied (/x)"),
    ],
)
def test_a_disk_in_the_way_is_reported_and_nothing_is_left(
    error: OSError, message: str, objects: Objects, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OutputError) as caught:
            write(objects, place / "bundle")
    assert str(caught.value) == f"{place / 'bundle'}: {message}"
    assert list(place.iterdir()) == []


def test_an_output_without_a_parent(objects: Objects, place: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        write(objects, place / "nowhere" / "bundle")
