"""The store, shared: between processes at once, with one that was killed, and with a garbage collection."""

from __future__ import annotations

import errno
import fcntl
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from tests.support.objects import (
    DATA,
    DIGEST,
    HALF,
    NAME,
    age,
    fail_with,
    leave_partial,
    leftovers,
    put,
)
from tests.support.projects import environment_of_children
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import StoreError
from thoth_models_builder.storage import store as store_module
from thoth_models_builder.storage.store import Collected, Store

if TYPE_CHECKING:
    from thoth_models.bundle.digest import ContentDigest

WRITER = """
import sys, time
from pathlib import Path
from thoth_models.bundle.digest import Digest
from thoth_models_builder.storage.store import Store

root, pause = Path(sys.argv[1]), float(sys.argv[2])
data = bytes(range(256)) * 1000
half = len(data) // 2
with Store(root).writer("model.safetensors", digest=Digest.of(data), size=len(data)) as writer:
    writer.restart()
    writer.write(data[:half])
    print("half", flush=True)
    time.sleep(pause)
    writer.write(data[half:])
    writer.finish()
print("done", flush=True)
"""
"""A process of its own that writes one object, slowly."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def start_writer(store: Store, pause: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store.root), str(pause)],
        env=environment_of_children(),
        stdout=subprocess.PIPE,
        text=True,
    )


# --- several processes ---


def test_two_processes_may_write_the_same_object_at_once(store: Store) -> None:
    first, second = start_writer(store, 0.2), start_writer(store, 0.2)
    assert [process.communicate(timeout=30)[0] for process in (first, second)] == ["half\ndone\n"] * 2
    assert (first.returncode, second.returncode) == (0, 0)
    assert store.path(DIGEST).read_bytes() == DATA
    assert leftovers(store) == []


def test_many_threads_with_stores_of_their_own_agree(tmp_path: Path) -> None:
    contents: list[ContentDigest] = []
    start = threading.Barrier(6)

    def write() -> None:
        start.wait()
        with Store(tmp_path).writer(NAME, digest=DIGEST, size=len(DATA)) as writer:
            writer.write(DATA[writer.offset :])
            contents.append(writer.finish())

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {content.sha256 for content in contents} == {DIGEST}
    assert len(contents) == 6
    assert Store(tmp_path).path(DIGEST).read_bytes() == DATA
    assert leftovers(Store(tmp_path)) == []


def test_a_second_writer_leaves_the_file_of_the_first_alone(store: Store) -> None:
    with store.writer(NAME, digest=DIGEST, size=len(DATA)) as first:
        first.write(DATA[:HALF])
        with store.writer(NAME, digest=DIGEST, size=len(DATA)) as second:
            assert second.offset == 0
            second.write(b"nonsense")
        # Nobody would ever find the second one's file again, so it went.
        assert [path.name for path in leftovers(store)] == [DIGEST.hex]
        first.write(DATA[HALF:])
        first.finish()
    assert store.path(DIGEST).read_bytes() == DATA


def test_a_partial_file_that_became_an_object_meanwhile_is_not_written_to(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_partial(store, DATA[:HALF])
    real_lock = fcntl.flock
    moved: list[Path] = []

    def move_first(file: Any, operation: int) -> None:
        # As if another process had finished between the opening of the file and its locking.
        if not moved:
            moved.append(store.path(DIGEST))
            moved[0].parent.mkdir(parents=True)
            (store.root / "partial" / DIGEST.hex).replace(moved[0])
        real_lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", move_first)
    with store.writer(NAME, digest=DIGEST, size=len(DATA)) as writer:
        assert writer.offset == 0
        writer.write(DATA[HALF:])
        assert moved[0].read_bytes() == DATA[:HALF]


def test_without_lock_support_writers_have_files_of_their_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", fail_with(errno.ENOLCK))
    with (
        store.in_use(),
        store.writer(NAME, digest=DIGEST, size=len(DATA)) as first,
        store.writer(NAME, digest=DIGEST, size=len(DATA)) as second,
    ):
        first.write(DATA)
        second.write(DATA[:HALF])
        first.finish()
        second.write(DATA[HALF:])
        second.finish()
    assert store.path(DIGEST).read_bytes() == DATA


def test_a_killed_writer_leaves_a_store_that_the_next_run_continues(store: Store) -> None:
    process = start_writer(store, 60)
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    assert not store.path(DIGEST).exists()
    assert store.find(DIGEST, len(DATA)) is None
    with store.writer(NAME, digest=DIGEST, size=len(DATA)) as writer:
        assert writer.offset == HALF
        writer.write(DATA[HALF:])
        writer.finish()
    assert store.path(DIGEST).read_bytes() == DATA
    assert leftovers(store) == []


# --- garbage collection ---


def test_gc_removes_what_no_lock_names_and_nobody_used_lately(store: Store) -> None:
    kept, old, fresh = b"kept", b"old", b"fresh"
    paths = {data: put(store, data) for data in (kept, old, fresh)}
    partial = leave_partial(store, DATA[:HALF])
    for path in (paths[kept], paths[old], partial):
        age(path)
    (store.scratch / "wheel-left").mkdir()
    expected = Collected(files=2, bytes=len(old) + HALF)
    assert store.gc([Digest.of(kept)], unused_seconds=60, dry_run=True) == expected
    assert all(path.exists() for path in [*paths.values(), partial, store.scratch / "wheel-left"])
    assert store.gc([Digest.of(kept)], unused_seconds=60) == expected
    assert (paths[kept].exists(), paths[old].exists(), paths[fresh].exists()) == (True, False, True)
    assert leftovers(store) == []
    assert not store.scratch.exists()
    put(store, old)
    assert store.scratch.is_dir()


def test_a_hit_counts_as_a_use(store: Store) -> None:
    path = put(store)
    age(path)
    modified = path.stat().st_mtime_ns
    assert store.find(DIGEST, len(DATA)) is not None
    assert path.stat().st_mtime_ns == modified
    assert store.gc([], unused_seconds=60) == Collected(files=0, bytes=0)


def test_gc_refuses_while_a_build_uses_the_store(store: Store) -> None:
    path = put(store)
    with store.in_use(), store.in_use():
        with pytest.raises(StoreError, match="expected a store that is not in use, found one in use by a build"):
            store.gc([], unused_seconds=0)
        assert path.exists()
    time.sleep(0.01)  # the clock of a filesystem is a tick behind
    assert store.gc([], unused_seconds=0).files == 1


def hold(store: Store) -> IO[bytes]:
    """Lock the store as a garbage collection does."""
    store.prepare()
    file = (store.root / "in-use").open("a+b")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def test_a_build_waits_for_a_garbage_collection(store: Store) -> None:
    entered = threading.Event()

    def build() -> None:
        with store.in_use():
            entered.set()

    with hold(store):
        builder = threading.Thread(target=build)
        builder.start()
        assert not entered.wait(0.3)
        # The last step of a garbage collection; the build has made its directories before.
        store.scratch.rmdir()
        assert not entered.wait(0.5)
    builder.join(10)
    assert entered.is_set()


def test_a_garbage_collection_that_does_not_end_is_waited_for_so_long(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_LOCK_SECONDS", 0.3)
    message = r"store: expected no garbage collection at work on the store, found one for 0\.3 s$"
    with hold(store), pytest.raises(StoreError, match=message), store.in_use():
        pass


def test_gc_tells_what_it_cannot_remove(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    age(put(store))
    monkeypatch.setattr(Path, "unlink", fail_with(errno.EACCES))
    with pytest.raises(StoreError, match="store: somewhere cannot be removed: Permission denied"):
        store.gc([], unused_seconds=60)
