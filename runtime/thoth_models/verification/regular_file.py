"""Opening files of a bundle so that a symlink, a FIFO or a device is seen for what it is, and never waited for.

Used by :mod:`thoth_models.verify` and :mod:`thoth_models.doctor`.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Self

from thoth_models.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from thoth_models.digest import ContentDigest


_NOT_PLAIN = (errno.ELOOP, errno.ENXIO)
"""What opening a symlink says under O_NOFOLLOW, and what opening a socket says."""


class NotPlainError(Exception):
    """What should be a regular file is something else."""


class PlainFile:
    """A regular file of the bundle, open for reading, reached through no symlink at its last step.

    Attributes:
        path: Path relative to the bundle root.
        descriptor: The open file, until the ``with`` block ends.
        size: Its length in bytes.

    Raises:
        NotPlainError: It is something else; the message says what.
        OSError: It cannot be opened.
    """

    def __init__(self, root: Path, path: str) -> None:
        self.path = path
        # O_NONBLOCK: opening a FIFO must not wait for a writer; it has no effect on regular files.
        try:
            self.descriptor = os.open(root / path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in _NOT_PLAIN:
                raise NotPlainError(kind_of(mode_of(root / path))) from error
            raise
        status = os.fstat(self.descriptor)
        self.size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            os.close(self.descriptor)
            raise NotPlainError(kind_of(status.st_mode))

    def __enter__(self) -> Self:
        """Return the open file."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close it."""
        os.close(self.descriptor)

    def wrong_size(self, content: ContentDigest) -> Problem | None:
        """Return the problem if the length is not that of ``content``, else None."""
        if self.size == content.size:
            return None
        return Problem(kind="changed", path=self.path, expected=f"{content.size} bytes", found=f"{self.size} bytes")


def mode_of(path: Path) -> int | None:
    """Return type and permissions of what is at ``path``, following no symlink there; None where nothing is."""
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
    """Say in words what a mode from :func:`mode_of` stands for."""
    if mode is None:
        return "nothing"
    return next((name for kind, name in _KINDS if stat.S_IFMT(mode) == kind), "something else")
