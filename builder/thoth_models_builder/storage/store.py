"""The content-addressed store: downloaded files named by their sha256.

Nothing gets its final name before its digest was computed from what was written; a hit is hashed again before use. A
killed process leaves at most a partial file, which the next one continues. Processes may share a store: partial files
are locked with ``flock``, which the kernel releases when their holder dies.

Layout: ``objects/ab/cdef…`` (0444); ``records/<key>``, which say what was derived from what; ``partial/<sha256>``;
``scratch/``, where sources keep what they unpack from and models are compiled; and ``in-use``, which builds lock shared
and :meth:`Store.gc` exclusively.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from thoth_models.digest import READ_SIZE, ContentDigest, ContentHasher, Digest, hash_file
from thoth_models_builder.errors import SourceError, StoreError, WrongContentError
from thoth_models_builder.files import open_regular, replace_file, sync_directory

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_OBJECT_MODE = 0o444
_LOCK_SECONDS = 60.0
"""How long a build waits for a garbage collection to end; it takes a second or so."""
_LOCK_PAUSE = 0.2
_LARGEST_UNKNOWN = 64 * 1024 * 1024
"""Bytes accepted of a file whose size nobody told: these are configurations and tokenizers, never weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What a garbage collection removed: number of files and their length in bytes."""

    files: int
    bytes: int


class Store:
    """A store below one directory, which is made when it is first needed.

    Raises:
        StoreError: The directory cannot be made or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._objects = root / "objects"
        self._partial = root / "partial"
        self._records = root / "records"
        self.scratch = root / "scratch"

    def prepare(self) -> None:
        """Make the directories of the store."""
        try:
            for directory in (self._objects, self._partial, self._records, self.scratch):
                directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.root}: expected a directory to keep files in: {error.strerror}") from error

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep a garbage collection by another process from removing what this one is about to use."""
        with self._open_in_use() as file:
            end = time.monotonic() + _LOCK_SECONDS
            # Without an end, a garbage collection that hangs would hang every build without a word.
            while not _flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB) and self._is_collected():
                if time.monotonic() > end:
                    waited = f"found one for {_LOCK_SECONDS:g} s"
                    raise StoreError(f"{self.root}: expected no garbage collection at work on the store, {waited}")
                time.sleep(_LOCK_PAUSE)
            yield

    def _is_collected(self) -> bool:
        """Tell whether locks work here at all: where they do not, nobody can hold one."""
        # Not in scratch, which a garbage collection removes.
        with tempfile.TemporaryFile(dir=self.root) as probe:
            return _flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _open_in_use(self) -> IO[bytes]:
        self.prepare()
        try:
            return (self.root / "in-use").open("a+b")
        except OSError as error:
            raise StoreError(f"{self.root}: expected a writable directory: {error.strerror}") from error

    def path(self, digest: Digest) -> Path:
        """Return where an object of that digest is, or would be."""
        return self._objects / digest.hex[:2] / digest.hex[2:]

    def find(self, digest: Digest, size: int) -> ContentDigest | None:
        """Return the content of an object after hashing it again; None where there is none.

        An object that is not what its name says is removed, so that it is fetched again.
        """
        path = self.path(digest)
        try:
            with open_regular(path) as file:
                if os.fstat(file.fileno()).st_size == size:
                    content = hash_file(file)
                    if content.sha256 == digest:
                        # The last use, for gc. As access time: bundles share the file, and its modification time
                        # must not tell that somebody else has used it.
                        with contextlib.suppress(OSError):
                            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
                        return content
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path}: expected a readable object: {error.strerror}") from error
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{path}: is damaged, and cannot be removed: {error.strerror}") from error
        return None

    def read(self, digest: Digest) -> bytes:
        """Return the content of a small object that :meth:`find` or a writer has just vouched for.

        Raises:
            StoreError: It is not there any more, or has changed.
        """
        try:
            data = self.path(digest).read_bytes()
        except OSError as error:
            raise StoreError(f"{self.path(digest)}: expected a readable object: {error.strerror}") from error
        if Digest.of(data) != digest:
            raise StoreError(f"{self.path(digest)}: changed while it was in use")
        return data

    def read_record(self, key: Digest) -> bytes | None:
        """Return what :meth:`write_record` kept under a key, or None. Nothing vouches for it but its writer."""
        path = self._records / key.hex
        try:
            data = path.read_bytes()
            with contextlib.suppress(OSError):
                os.utime(path)  # the last use, for gc
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path}: expected a readable record: {error.strerror}") from error
        return data

    def write_record(self, key: Digest, data: bytes) -> None:
        """Keep a note of what was derived, under the key of all that it was derived from."""
        try:
            replace_file(self._records / key.hex, data)
        except OSError as error:
            raise StoreError(f"{self._records}: cannot be written: {error.strerror}") from error

    @contextlib.contextmanager
    def writer(self, path: str, *, digest: Digest | None, size: int | None) -> Iterator[Writer]:
        """Open a place for the bytes of one file; they become an object when :meth:`Writer.finish` accepts them.

        Args:
            path: What the file is called, for messages.
            digest: What the bytes must hash to; None where that is to be found out.
            size: How many bytes there must be; None where that is to be found out.
        """
        self.prepare()
        try:
            file = self._open_partial(digest)
            writer = Writer(self, file, path, digest=digest, size=size)
        except OSError as error:
            raise StoreError(f"{self._partial}: cannot be written: {error.strerror}") from error
        try:
            yield writer
        finally:
            with file:
                # What the next attempt finds by its digest is kept for it, also after an error.
                is_found_again = digest is not None and Path(file.name) == self._partial / digest.hex
                if not writer.is_finished and (not is_found_again or writer.offset == 0):
                    Path(file.name).unlink(missing_ok=True)

    def _open_partial(self, digest: Digest | None) -> IO[bytes]:
        # A partial file that is read-only already belongs to a process that is about to move it to its final place, or
        # that was killed there.
        with contextlib.suppress(PermissionError):
            if digest is not None:
                file = (self._partial / digest.hex).open("a+b", buffering=0)
                # A process that held the lock may have moved the file to its final place since: then this is an object
                # now, and must not be written to.
                if _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB) and _is_at(file, self._partial / digest.hex):
                    return file
                file.close()
        descriptor, name = tempfile.mkstemp(dir=self._partial, prefix="new-")
        os.close(descriptor)
        file = Path(name).open("a+b", buffering=0)  # noqa: SIM115 - closed by writer()
        _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file

    def gc(self, keep: Collection[Digest], *, unused_seconds: float, dry_run: bool = False) -> Collected:
        """Remove objects that are not in ``keep`` and were not used lately, so records, and partial files of nobody.

        Args:
            keep: Digests that stay in any case.
            unused_seconds: Remove only what was last used longer ago than this.
            dry_run: Only count.

        Raises:
            StoreError: A build is using the store, or something in it cannot be removed.
        """
        kept = {self.path(digest) for digest in keep}
        before = time.time() - unused_seconds
        with self._open_in_use() as file:
            if not _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                raise StoreError(f"{self.root}: expected a store that nobody uses, found one in use by a build")
            candidates = [path for path in self._objects.glob("*/*") if path not in kept]
            candidates += [*self._partial.iterdir(), *self._records.iterdir()]
            removed = [(path, path.stat().st_size) for path in candidates if _last_use(path) <= before]
            if not dry_run:
                try:
                    for path, _ in removed:
                        path.unlink()
                    # Nobody uses the store, so what lies here was left by a process that was killed.
                    shutil.rmtree(self.scratch)
                except OSError as error:
                    raise StoreError(f"{error.filename}: cannot be removed: {error.strerror}") from error
        return Collected(files=len(removed), bytes=sum(size for _, size in removed))


class Writer:
    """Where the bytes of one file go: hashed while they are written, and capped.

    Made by :meth:`Store.writer`. Bytes that an earlier attempt left are taken over; :attr:`offset` counts them.
    """

    def __init__(self, store: Store, file: IO[bytes], path: str, *, digest: Digest | None, size: int | None) -> None:
        self._store = store
        self._file = file
        self._path = path
        self._digest = digest
        self._size = size
        self.is_finished = False
        self._hasher = ContentHasher(size)
        self._take_over()

    @property
    def offset(self) -> int:
        """How many bytes there are already."""
        return self._hasher.size

    def _take_over(self) -> None:
        self._file.seek(0)
        while data := self._file.read(READ_SIZE):
            self._hasher.update(data)
        if self._size is not None and self._hasher.size > self._size:
            self.restart()

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes.

        Raises:
            SourceError: There are more than the expected number.
            StoreError: They cannot be written, for instance because the disk is full.
        """
        cap = _LARGEST_UNKNOWN if self._size is None else self._size
        if self.offset + len(data) > cap:
            found = self.offset + len(data)
            self.restart()
            raise SourceError(
                f"{self._path}: expected {'at most ' if self._size is None else ''}{cap} bytes, found {found} or more"
            )
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file.fileno(), view) :]
        except OSError as error:
            raise StoreError(f"{self._file.name}: cannot be written: {error.strerror}") from error
        self._hasher.update(data)

    def restart(self) -> None:
        """Forget all bytes."""
        self._file.seek(0)
        self._file.truncate()
        self._hasher = ContentHasher(self._size)

    def finish(self) -> ContentDigest:
        """Compare what was written with what was expected, and give it its place in the store.

        Raises:
            WrongContentError: Its digest is another one; the bytes are forgotten.
            SourceError: Its length is another one; a short file can be continued.
            StoreError: It cannot be written.
        """
        if self._size is not None and self.offset != self._size:
            raise SourceError(f"{self._path}: expected {self._size} bytes, found {self.offset}")
        content = self._hasher.finish()
        if self._digest is not None and content.sha256 != self._digest:
            self.restart()
            raise WrongContentError(self._path, self._digest, content.sha256)
        target = self._store.path(content.sha256)
        try:
            os.fchmod(self._file.fileno(), _OBJECT_MODE)
            os.fsync(self._file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self._file.name, target)  # noqa: PTH105 - the name of an open file is a str
            sync_directory(target.parent)
        except OSError as error:
            raise StoreError(f"{target}: cannot be written: {error.strerror}") from error
        self.is_finished = True
        return content


def _flock(file: IO[bytes], operation: int) -> bool:
    """Lock a file and tell whether that worked; it does not where another process holds it, or without lock support."""
    try:
        fcntl.flock(file, operation)
    except OSError:
        return False
    return True


def _last_use(path: Path) -> float:
    status = path.stat()
    return max(status.st_atime, status.st_mtime)


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
