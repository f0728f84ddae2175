"""Open, replace and link regular files."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from thoth_models_builder.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE_MODE = 0o444
"""Mode of every file in a bundle or in the store."""

_RANDOM_BYTES = 8
"""Length of the random part in the name of a temporary file, which has two digits for each byte."""

_DIRECTORY_PREFIX = "thoth-bundle-"
"""Begins the name of a temporary directory; the same random part follows, so that no directory of a user's has it."""

_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file, copy on write


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, without waiting for a FIFO or a device in its place.

    Raises:
        OSError: The file does not exist, cannot be read, or is not a regular file.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - Path.open has no opener; returned open
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)


def replace_file(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically: after a crash, the file has all of it or its old content.

    Raises:
        OSError: The file cannot be written; it is as before.
    """
    with prepared(path, data) as temporary:
        temporary.replace(path)


@contextlib.contextmanager
def prepared(path: Path, data: bytes) -> Iterator[Path]:
    """Write ``data`` to a temporary file beside ``path``, with the mode of that file if it exists, and sync it.

    It is removed at the end of the block, unless the block renames it.

    Raises:
        OSError: Not all of the data can be written.
    """
    with _temporary(path) as (file, temporary):
        file.write(data)
        with contextlib.suppress(FileNotFoundError):
            os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
        file.flush()
        os.fsync(file.fileno())
        yield temporary


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces ``path`` at the end of the block, unless the block fails.

    Raises:
        OSError: The file cannot be written.
    """
    with _temporary(path) as (file, temporary):
        yield file
        file.flush()
        temporary.replace(path)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Open a locked file beside ``path``, and remove it at the end of the block if it is still there."""
    remove_leftovers(path)
    file = None
    while file is None:
        # A random name, not the process id: two containers that share the directory may both be process 1.
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(_RANDOM_BYTES)}")
        try:
            file = _open_locked(temporary)
            if file is not None:
                with file:
                    yield file, temporary
        finally:
            temporary.unlink(missing_ok=True)


def _open_locked(temporary: Path) -> IO[bytes] | None:
    """Create and lock a file: what is not locked was left by a killed process. None if another one has removed it."""
    # Buffered: an unbuffered write may write less than it was given, which is then no error.
    file = temporary.open("xb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:
        return file  # a file system without locks, on which nothing is removed
    if os.fstat(file.fileno()).st_nlink == 0:
        file.close()
        return None
    return file


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files beside ``path`` that were left by processes which were killed while they replaced it.

    One that cannot be removed stays: what is being written does not need its place.
    """
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{{2 * _RANDOM_BYTES}}}", re.DOTALL)
    leftovers: list[Path] = []
    with contextlib.suppress(OSError):  # a directory that may be written and not listed
        leftovers += [entry for entry in path.parent.iterdir() if pattern.fullmatch(entry.name)]
    for leftover in leftovers:
        # Other processes may be removing or renaming it; and it may be unreadable, or its directory read-only.
        with contextlib.suppress(OSError):
            status = leftover.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                continue
            with open_regular(leftover) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue  # another process is writing it, or locks do not work here
                leftover.unlink()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Convert an error of writing ``path``, as the user named it, to an :class:`OutputError`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def link_or_copy(source: Path, target: Path) -> None:
    """Link a file that never changes; where links are not possible, clone or copy it. The result is read-only.

    Only where both belong to the builder alone, or where links were asked for: who changes a file in place changes all
    its links.

    Raises:
        OSError: The source cannot be read, or the target cannot be written.
    """
    try:
        os.link(source, target)
    except OSError:
        # Another file system, no support for hard links, or a file of another user.
        clone_or_copy(source, target)
        return
    if target.stat().st_mode & 0o777 != FILE_MODE:
        target.chmod(FILE_MODE)


def clone_or_copy(source: Path, target: Path) -> None:
    """Clone a file, so that both share the bytes until one changes, or else copy it. The result is read-only.

    Raises:
        OSError: The source cannot be read, or the target cannot be written.
    """
    with source.open("rb") as content, target.open("xb") as copy:
        try:
            fcntl.ioctl(copy, _FICLONE, content.fileno())
        except OSError:
            shutil.copyfileobj(content, copy, 1024 * 1024)
        copy.flush()
        os.fsync(copy.fileno())
    target.chmod(FILE_MODE)


def sync_directory(path: Path) -> None:
    """Sync a directory, so that the names in it survive a crash."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock_directory(path: Path) -> int | None:
    """Lock a directory until the descriptor is closed, or its process ends; None if another process has the lock."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        pass  # a file system without locks
    return descriptor


@contextlib.contextmanager
def temporary_directory() -> Iterator[Path]:
    """Make a directory for the time of the block, where TMPDIR says; remove those that killed processes left there.

    Raises:
        OSError: It cannot be made.
    """
    place = Path(tempfile.gettempdir())
    # Not the eight letters of tempfile alone, which a date or a word of a user's own directory may be as well.
    pattern = re.compile(rf"{_DIRECTORY_PREFIX}[0-9a-f]{{{2 * _RANDOM_BYTES}}}-[a-z0-9_]{{8}}")
    leftovers: list[Path] = []
    with contextlib.suppress(OSError):  # a directory that may be written and not listed
        leftovers += [path for path in place.iterdir() if pattern.fullmatch(path.name)]
    for leftover in leftovers:
        # Another process may be at work in it or remove it, or locks do not work here: then it stays.
        with contextlib.suppress(OSError):
            descriptor = os.open(leftover, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_uid == os.geteuid():
                    shutil.rmtree(leftover)
            finally:
                os.close(descriptor)
    with contextlib.ExitStack() as stack:
        own = None
        while own is None:
            prefix = f"{_DIRECTORY_PREFIX}{secrets.token_hex(_RANDOM_BYTES)}-"
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
            own = _lock_existing(directory)
        stack.callback(os.close, own)
        yield directory


def _lock_existing(directory: Path) -> int | None:
    """Lock a new directory; None if another process took it for a leftover before that."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = lock_directory(directory)
        if descriptor is not None and directory.exists():
            return descriptor
        if descriptor is not None:
            os.close(descriptor)
    return None
