"""The content-addressed store: downloaded files named by their sha256.

A file gets its final name after the digest of the written bytes was computed; a hit is hashed again before use. A
killed process leaves at most a partial file, which the next one continues. Processes may share a store: partial files
are locked with ``flock``, which the kernel releases when the process ends.

Layout: ``objects/ab/cdef…`` (0444); ``records/<key>``, the results of compilations; ``partial/<sha256>``; ``scratch/``
for downloaded wheels and running compilations; and ``in-use``, which builds lock shared and :meth:`Store.gc`
exclusively.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from thoth_models.bundle.digest import READ_SIZE, ContentDigest, ContentHasher, Digest, hash_file
from thoth_models_builder.errors import SourceError, StoreError, WrongContentError
from thoth_models_builder.storage.files import open_regular, replace_file, sync_directory
from thoth_models_builder.storage.permissions import other_owner, writable_by_all

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_log = logging.getLogger(__name__)

_OBJECT_MODE = 0o444
_LOCK_SECONDS = 60.0
"""Time that a build waits for a garbage collection, which takes about a second."""
_LOCK_PAUSE = 0.2
_MAX_UNKNOWN_SIZE = 64 * 1024 * 1024
"""Largest file of unknown size, in bytes: a configuration or tokenizer, never weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """The files that a garbage collection removed: their number and total length in bytes."""

    files: int
    bytes: int


class Store:
    """A store in one directory, which is created when it is first needed.

    Raises:
        StoreError: The directory cannot be created or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._objects = root / "objects"
        self._partial = root / "partial"
        self._records = root / "records"
        self.scratch = root / "scratch"
        self._has_warned = False

    def prepare(self) -> None:
        """Create the directories of the store."""
        try:
            for directory in (self._objects, self._partial, self._records, self.scratch):
                directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.root}: expected a directory to keep files in: {error.strerror}") from error

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Prevent garbage collections by other processes during the block."""
        with self._open_in_use() as file:
            end = time.monotonic() + _LOCK_SECONDS
            # Bounded, because a garbage collection that hangs would otherwise hang every build silently.
            while not _flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB) and self._supports_locks():
                if time.monotonic() > end:
                    waited = f"found one for {_LOCK_SECONDS:g} s"
                    raise StoreError(f"{self.root}: expected no garbage collection at work on the store, {waited}")
                time.sleep(_LOCK_PAUSE)
            yield

    def _supports_locks(self) -> bool:
        """Return whether locks work on this file system: without them, a lock that fails means nothing."""
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
        """Return the path of an object, whether it exists or not."""
        return self._objects / digest.hex[:2] / digest.hex[2:]

    def find(self, digest: Digest, size: int) -> ContentDigest | None:
        """Return the content of an object after hashing it again; None if it does not exist.

        An object that does not match its name is removed, so that it is fetched again.
        """
        path = self.path(digest)
        try:
            with open_regular(path) as file:
                if os.fstat(file.fileno()).st_size == size:
                    content = hash_file(file)
                    if content.sha256 == digest:
                        # The time of the last use, for gc. In the access time: bundles link the file, and its
                        # modification time must not change for them.
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
        """Return the content of a small object that :meth:`find` or a writer has just verified.

        Raises:
            StoreError: The object was removed or changed.
        """
        try:
            data = self.path(digest).read_bytes()
        except OSError as error:
            raise StoreError(f"{self.path(digest)}: expected a readable object: {error.strerror}") from error
        if Digest.of(data) != digest:
            raise StoreError(f"{self.path(digest)}: changed while it was in use")
        return data

    def read_beginning(self, digest: Digest, size: int) -> bytes:
        """Return the first bytes of an object that :meth:`find` or a writer has just verified, which may be large.

        Raises:
            StoreError: The object was removed.
        """
        try:
            with self.path(digest).open("rb") as file:
                return file.read(size)
        except OSError as error:
            raise StoreError(f"{self.path(digest)}: expected a readable object: {error.strerror}") from error

    def read_record(self, key: Digest) -> bytes | None:
        """Return the data that :meth:`write_record` stored under a key, or None.

        Its content is not verified, so what every user may have written is left out; see :mod:`.permissions`.
        """
        path = self._records / key.hex
        places = (self.root, self._records, path)
        refused = writable_by_all(places)
        if (found := refused or other_owner(places)) is not None and not self._has_warned:
            self._has_warned = True  # there is a record for each model
            _log.warning("%s; earlier compilations in the store are %s", found, "not used" if refused else "used")
        if refused is not None:
            return None
        try:
            data = path.read_bytes()
            with contextlib.suppress(OSError):
                os.utime(path)  # time of the last use, for gc
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path}: expected a readable record: {error.strerror}") from error
        return data

    def write_record(self, key: Digest, data: bytes) -> None:
        """Store the result of a derivation under the key of everything that it depends on."""
        try:
            replace_file(self._records / key.hex, data)
        except OSError as error:
            raise StoreError(f"{self._records}: cannot be written: {error.strerror}") from error

    @contextlib.contextmanager
    def writer(self, path: str, *, digest: Digest | None, size: int | None) -> Iterator[Writer]:
        """Open a writer for one file; the bytes become an object when :meth:`Writer.finish` accepts them.

        Args:
            path: Name of the file, for messages.
            digest: Expected digest; None if it is unknown.
            size: Expected number of bytes; None if it is unknown.
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
                # A partial file that is named by its digest is kept for the next attempt, also after an error.
                is_found_again = digest is not None and Path(file.name) == self._partial / digest.hex
                if not writer.is_finished and (not is_found_again or writer.offset == 0):
                    Path(file.name).unlink(missing_ok=True)

    def copy(self, file: Path, path: str, content: ContentDigest) -> None:
        """Copy a file of this machine into the store; ``path`` is its name in messages.

        Raises:
            OSError: The file cannot be read, or the store not be written.
            WrongContentError: The file has another content.
        """
        with self.writer(path, digest=content.sha256, size=content.size) as writer, file.open("rb") as data:
            writer.restart()  # the rest of an interrupted copy may be wrong, and copying is quick
            while block := data.read(READ_SIZE):
                writer.write(block)
            writer.finish()

    def _open_partial(self, digest: Digest | None) -> IO[bytes]:
        # A read-only partial file belongs to a process that is about to move it to its final place, or that was killed
        # before it did.
        with contextlib.suppress(PermissionError):
            if digest is not None:
                file = (self._partial / digest.hex).open("a+b", buffering=0)
                # The process that held the lock may have moved the file to its final place: then it is an object now,
                # and must not be written to.
                if _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB) and _is_at(file, self._partial / digest.hex):
                    return file
                file.close()
        descriptor, name = tempfile.mkstemp(dir=self._partial, prefix="new-")
        os.close(descriptor)
        file = Path(name).open("a+b", buffering=0)  # noqa: SIM115 - closed by writer()
        _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file

    def gc(self, keep: Collection[Digest], *, unused_seconds: float, dry_run: bool = False) -> Collected:
        """Remove objects that are not in ``keep``, records and partial files, if they were not used recently.

        Args:
            keep: Digests of objects to keep in any case.
            unused_seconds: Minimum time since the last use of a file that is removed.
            dry_run: Count the files without removing them.

        Raises:
            StoreError: A build is using the store, or something in it cannot be removed.
        """
        kept = {self.path(digest) for digest in keep}
        before = time.time() - unused_seconds
        with self._open_in_use() as file:
            if not _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                raise StoreError(f"{self.root}: expected a store that is not in use, found one in use by a build")
            try:
                candidates = [path for path in self._objects.glob("*/*") if path not in kept]
                candidates += [*self._partial.iterdir(), *self._records.iterdir()]
                removed = [(path, path.stat().st_size) for path in candidates if _last_use(path) <= before]
            except OSError as error:
                raise StoreError(f"{error.filename}: cannot be read: {error.strerror}") from error
            if not dry_run:
                try:
                    for path, _ in removed:
                        path.unlink()
                    # The store is not in use, so these files were left by processes that were killed.
                    shutil.rmtree(self.scratch)
                except OSError as error:
                    raise StoreError(f"{self.root}: {error.filename} cannot be removed: {error.strerror}") from error
        return Collected(files=len(removed), bytes=sum(size for _, size in removed))


class Writer:
    """Writes the bytes of one file, hashing and bounding them.

    Created by :meth:`Store.writer`. Bytes of an earlier attempt are kept; :attr:`offset` counts them.
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
        """Number of bytes written so far."""
        return self._hasher.size

    def _take_over(self) -> None:
        self._file.seek(0)
        while data := self._file.read(READ_SIZE):
            self._hasher.update(data)
        if self._size is not None and self._hasher.size > self._size:
            self.restart()

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes.

        Raises:
            SourceError: The file gets longer than expected.
            StoreError: The bytes cannot be written, for instance because the disk is full.
        """
        cap = _MAX_UNKNOWN_SIZE if self._size is None else self._size
        if self.offset + len(data) > cap:
            found = self.offset + len(data)
            self.restart()
            expected = f"{cap} bytes" if self._size is not None else f"at most {cap} bytes, as the size is not stated"
            raise SourceError(f"{self._path}: expected {expected}, found {found} or more")
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file.fileno(), view) :]
        except OSError as error:
            raise StoreError(f"{self._file.name}: cannot be written: {error.strerror}") from error
        self._hasher.update(data)

    def restart(self) -> None:
        """Discard all bytes."""
        self._file.seek(0)
        self._file.truncate()
        self._hasher = ContentHasher(self._size)

    def finish(self) -> ContentDigest:
        """Compare digest and length with the expected ones, and move the file to its place in the store.

        Raises:
            WrongContentError: The digest differs; the bytes are discarded.
            SourceError: The length differs; a short file can be continued.
            StoreError: The file cannot be moved.
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
    """Lock a file and return whether that worked: not if another process holds the lock, or without lock support."""
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
