"""The store: nothing has its name before it was hashed, and nothing that is left behind can spoil it."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.objects import (
    DATA,
    DIGEST,
    HALF,
    NAME,
    InterruptedWriteError,
    fail_with,
    interrupted_write,
    leave_partial,
    leftovers,
    put,
)
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import SourceError, StoreError, WrongContentError
from thoth_models_builder.storage import store as store_module
from thoth_models_builder.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


# --- writing ---


def test_an_object_appears_complete_hashed_and_read_only(store: Store) -> None:
    with store.writer(NAME, digest=DIGEST, size=len(DATA)) as writer:
        writer.write(DATA[:HALF])
        assert not store.path(DIGEST).exists()
        writer.write(memoryview(DATA)[HALF:])
        assert not store.path(DIGEST).exists()
        content = writer.finish()
    path = store.path(DIGEST)
    assert (content.size, content.sha256) == (len(DATA), DIGEST)
    assert path == store.root / "objects" / DIGEST.hex[:2] / DIGEST.hex[2:]
    assert path.read_bytes() == DATA
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert leftovers(store) == []
    assert store.find(DIGEST, len(DATA)) == content
    assert store.read(DIGEST) == DATA


def test_the_mode_of_an_object_does_not_depend_on_the_umask(store: Store) -> None:
    before = os.umask(0o077)
    try:
        path = put(store)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_bytes_reach_the_disk_before_they_have_their_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        order.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_sync(descriptor)

    def replace(source: str, target: Path) -> None:
        order.append("replace")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    put(store)
    assert order == ["file", "replace", "directory"]


def test_an_unknown_digest_is_found_out(store: Store) -> None:
    with store.writer(NAME, digest=None, size=None) as writer:
        writer.write(DATA)
        content = writer.finish()
    assert content.sha256 == DIGEST
    assert store.path(DIGEST).read_bytes() == DATA


def test_an_empty_file_is_an_object_too(store: Store) -> None:
    empty = Digest.of(b"")
    with store.writer(NAME, digest=empty, size=0) as writer:
        writer.finish()
    assert store.find(empty, 0) is not None


@pytest.mark.hostile
def test_wrong_bytes_are_refused_with_both_digests_and_forgotten(store: Store) -> None:
    wrong = bytes(len(DATA))
    with store.writer(NAME, digest=DIGEST, size=len(DATA)) as writer:
        writer.write(wrong)
        with pytest.raises(WrongContentError) as caught:
            writer.finish()
        assert writer.offset == 0
    assert str(caught.value) == f"{NAME}: expected sha256 {DIGEST}, found sha256 {Digest.of(wrong)}"
    assert not store.path(DIGEST).exists()
    assert leftovers(store) == []


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("size", "most"), [(100, "100 bytes"), (None, "at most 1000 bytes, as the size is not stated")]
)
def test_more_bytes_than_there_should_be_are_not_taken(
    store: Store, monkeypatch: pytest.MonkeyPatch, size: int | None, most: str
) -> None:
    monkeypatch.setattr(store_module, "_MAX_UNKNOWN_SIZE", 1000)
    with store.writer(NAME, digest=None, size=size) as writer:
        writer.write(bytes(99))
        with pytest.raises(SourceError, match=rf"^{NAME}: expected {most}, found 1001 or more$"):
            writer.write(bytes(902))
        assert writer.offset == 0
    assert leftovers(store) == []


def test_a_short_file_is_refused_and_can_be_continued(store: Store) -> None:
    with store.writer(NAME, digest=DIGEST, size=len(DATA)) as writer:
        writer.write(DATA[:HALF])
        with pytest.raises(SourceError, match=rf"^{NAME}: expected {len(DATA)} bytes, found {HALF}$"):
            writer.finish()
        writer.write(DATA[HALF:])
        writer.finish()
    assert store.find(DIGEST, len(DATA)) is not None


# --- what an earlier attempt left ---


def test_a_partial_file_is_kept_and_taken_over(store: Store) -> None:
    with pytest.raises(InterruptedWriteError):
        interrupted_write(store, DATA[:HALF])
    assert [path.name for path in leftovers(store)] == [DIGEST.hex]
    with store.writer(NAME, digest=DIGEST, size=len(DATA)) as writer:
        assert writer.offset == HALF
        writer.write(DATA[HALF:])
        writer.finish()
    assert store.path(DIGEST).read_bytes() == DATA


def test_a_partial_file_of_an_unknown_digest_is_not_kept(store: Store) -> None:
    with pytest.raises(InterruptedWriteError):
        interrupted_write(store, DATA[:HALF], digest=None)
    assert leftovers(store) == []


def test_a_partial_file_without_bytes_is_not_kept(store: Store) -> None:
    with store.writer(NAME, digest=DIGEST, size=len(DATA)):
        pass
    assert leftovers(store) == []


@pytest.mark.hostile
def test_a_partial_file_of_wrong_content_starts_over(store: Store) -> None:
    leave_partial(store, bytes(HALF))
    with store.writer(NAME, digest=DIGEST, size=len(DATA)) as writer:
        assert writer.offset == HALF
        writer.write(DATA[HALF:])
        with pytest.raises(WrongContentError):
            writer.finish()
        assert writer.offset == 0
        writer.write(DATA)
        writer.finish()
    assert store.path(DIGEST).read_bytes() == DATA


def test_a_partial_file_that_is_too_long_starts_over(store: Store) -> None:
    leave_partial(store, DATA + b"!")
    with store.writer(NAME, digest=DIGEST, size=len(DATA)) as writer:
        assert writer.offset == 0


def test_a_read_only_partial_file_is_in_nobodys_way(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # A process that was killed between the two last steps of finish() leaves one. The superuser could open it, so the
    # refusal is played here.
    partial = leave_partial(store, DATA)
    real_open = Path.open

    def refuse(path: Path, mode: str = "r", **options: Any) -> Any:
        if path == partial and mode.startswith("a"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real_open(path, mode, **options)

    monkeypatch.setattr(Path, "open", refuse)
    assert put(store).read_bytes() == DATA


# --- a hit ---


@pytest.mark.hostile
def test_a_flipped_bit_is_found_and_the_object_fetched_again(store: Store) -> None:
    path = put(store)
    path.chmod(0o644)
    path.write_bytes(bytes([DATA[0] ^ 1]) + DATA[1:])
    assert store.find(DIGEST, len(DATA)) is None
    assert not path.exists()
    put(store)
    assert store.find(DIGEST, len(DATA)) is not None


@pytest.mark.hostile
def test_an_object_of_another_length_is_not_found(store: Store) -> None:
    path = put(store)
    os.truncate(path, HALF)
    assert store.find(DIGEST, len(DATA)) is None
    assert not path.exists()


def test_what_is_not_there_is_not_found(store: Store) -> None:
    assert store.find(DIGEST, len(DATA)) is None


def test_an_object_that_cannot_be_read_is_an_error(store: Store) -> None:
    store.path(DIGEST).mkdir(parents=True)
    with pytest.raises(StoreError, match="expected a readable object: Is a directory"):
        store.find(DIGEST, len(DATA))


@pytest.mark.hostile
def test_a_pipe_in_the_place_of_an_object_is_not_waited_for(store: Store) -> None:
    store.path(DIGEST).parent.mkdir(parents=True)
    os.mkfifo(store.path(DIGEST))
    with pytest.raises(StoreError, match="expected a readable object: not a regular file"):
        store.find(DIGEST, len(DATA))


def test_a_damaged_object_that_cannot_be_removed_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    os.truncate(put(store), HALF)
    monkeypatch.setattr(Path, "unlink", fail_with(errno.EROFS))
    with pytest.raises(StoreError, match="is damaged, and cannot be removed: Read-only file system"):
        store.find(DIGEST, len(DATA))


def test_the_beginning_of_an_object_is_read_alone(store: Store) -> None:
    path = put(store)
    assert store.read_beginning(DIGEST, 3) == DATA[:3]
    path.unlink()
    with pytest.raises(StoreError, match="expected a readable object: No such file"):
        store.read_beginning(DIGEST, 3)


@pytest.mark.hostile
def test_reading_notices_a_change_after_the_hit(store: Store) -> None:
    path = put(store)
    path.chmod(0o644)
    path.write_bytes(b"other")
    with pytest.raises(StoreError, match="changed while it was in use"):
        store.read(DIGEST)
    path.unlink()
    with pytest.raises(StoreError, match="expected a readable object: No such file"):
        store.read(DIGEST)


# --- a disk that does not do its part ---


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_failing_disk_is_a_store_error_and_the_rest_is_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with store.writer(NAME, digest=DIGEST, size=len(DATA)) as writer:
        writer.write(DATA[:HALF])
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", fail_with(number))
            with pytest.raises(StoreError, match=f"cannot be written: {os.strerror(number)}"):
                writer.write(DATA[HALF:])
    with store.writer(NAME, digest=DIGEST, size=len(DATA)) as writer:
        assert writer.offset == HALF


def test_a_write_that_takes_only_a_part_is_continued(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, bytes(data[:10_000])))
    assert put(store).read_bytes() == DATA


@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod"])
def test_a_disk_that_fails_at_the_end_leaves_no_object(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with store.writer(NAME, digest=DIGEST, size=len(DATA)) as writer:
        writer.write(DATA)
        monkeypatch.setattr(os, step, fail_with(errno.ENOSPC))
        with pytest.raises(StoreError, match="cannot be written: No space left on device"):
            writer.finish()
        monkeypatch.undo()
    assert not store.path(DIGEST).exists()
    assert put(store).read_bytes() == DATA


def test_a_store_whose_place_is_taken_by_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    store = Store(tmp_path / "store")
    for use in (store.prepare, lambda: store.gc([], unused_seconds=0), store.in_use().__enter__):
        with pytest.raises(StoreError, match=r"expected a directory to keep files in: (File exists|Not a directory)"):
            use()
    with pytest.raises(StoreError), store.writer(NAME, digest=None, size=None):
        pass


def test_a_store_that_cannot_be_written_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.prepare()
    (store.root / "in-use").mkdir()
    with pytest.raises(StoreError, match="expected a writable directory: Is a directory"), store.in_use():
        pass
    monkeypatch.setattr(tempfile, "mkstemp", fail_with(errno.EROFS))
    with (
        pytest.raises(StoreError, match="partial: cannot be written: Read-only file system"),
        store.writer(NAME, digest=None, size=None),
    ):
        pass
