"""Open files of a bundle so that symlinks, FIFOs and devices are recognised, and never block.

Used by :mod:`thoth_models.verification.verify` and :mod:`thoth_models.cli.doctor`.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Self

from thoth_models.bundle.canonical_json import FormatError
from thoth_models.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from thoth_models.bundle.digest import ContentDigest


_NOT_REGULAR = (errno.ELOOP, errno.ENXIO)
"""The errors of opening a symlink with O_NOFOLLOW, and of opening a socket."""


class NotRegularError(Exception):
    """The path is not a regular file; the message says what it is."""


class RegularFile:
    """A regular file of the bundle, open for reading. If the last part of the path is a symlink, it is refused.

    Attributes:
        path: Path relative to the bundle root.
        descriptor: The open file, until the ``with`` block ends.
        size: Its length in bytes.

    Raises:
        NotRegularError: The path is not a regular file; the message says what it is.
        OSError: The file cannot be opened.
    """

    def __init__(self, root: Path, path: str) -> None:
        self.path = path
        # O_NONBLOCK: opening a FIFO must not wait for a writer; it has no effect on regular files.
        try:
            self.descriptor = os.open(root / path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in _NOT_REGULAR:
                raise NotRegularError(kind_of(mode_of(root / path))) from error
            raise
        status = os.fstat(self.descriptor)
        self.size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            os.close(self.descriptor)
            raise NotRegularError(kind_of(status.st_mode))

    def __enter__(self) -> Self:
        """Return the open file."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close it."""
        os.close(self.descriptor)

    def wrong_size(self, content: ContentDigest) -> Problem | None:
        """Return the problem if the length differs from that of ``content``, else None."""
        if self.size == content.size:
            return None
        return Problem(kind="changed", path=self.path, expected=f"{content.size} bytes", found=f"{self.size} bytes")


def read_small(path: Path, maximum: int) -> bytes:
    """Read a file outside of the bundle, whose content is checked by other means than its place: symlinks are followed.

    Raises:
        OSError: It cannot be read.
        FormatError: It is not a regular file, or has more than ``maximum`` bytes.
    """
    try:
        resolved = path.resolve()
    except RuntimeError as error:  # a loop of symlinks, before Python 3.13
        raise FormatError("expected a regular file, found a loop of symlinks") from error
    try:
        with RegularFile(resolved.parent, resolved.name) as file:
            if file.size > maximum:
                raise FormatError(f"expected at most {maximum} bytes, found {file.size}")
            return os.pread(file.descriptor, file.size, 0)
    except NotRegularError as error:
        raise FormatError(f"expected a regular file, found {error}") from error


def mode_of(path: Path) -> int | None:
    """Return type and permissions of ``path`` without following a symlink; None if it does not exist."""
    try:
        return path.lstat().st_mode
    except OSError:
        return None


_KINDS: Iterable[tuple[int, str]] = (
    (stat.S_IFLNK, "a symlink"),
    (stat.S_IFREG, "a file"),
    (stat.S_IFDIR, "a directory"),
    (stat.S_IFIFO, "a FIFO"),
    (stat.S_IFSOCK, "a socket"),
    (stat.S_IFBLK, "a block device"),
    (stat.S_IFCHR, "a character device"),
)


def kind_of(mode: int | None) -> str:
    """Return the kind of file that a mode from :func:`mode_of` stands for, in words."""
    if mode is None:
        return "nothing"
    return next((name for kind, name in _KINDS if stat.S_IFMT(mode) == kind), "something else")
