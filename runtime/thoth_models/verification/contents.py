"""Comparing the content of files with their digests: by reading them, or by mapping them for those who will use them.

Used by :mod:`thoth_models.verify`; :mod:`thoth_models.doctor` takes its words for what cannot be read.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from thoth_models.digest import Digest, hash_range, ranges
from thoth_models.errors import Problem
from thoth_models.parallel import parallel
from thoth_models.plainfile import NotPlainError, PlainFile
from thoth_models.tree import reason

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.digest import ContentDigest


_POPULATE_READ: Final = 22
"""MADV_POPULATE_READ of Linux 5.14 and later (https://man7.org/linux/man-pages/man2/madvise.2.html)."""

_CUT_SHORT: Final = "a page that cannot be read: the file was cut short, or its storage fails"


class _Part(NamedTuple):
    path: str
    content: ContentDigest
    offset: int
    length: int
    expected: Digest

    def compared(self, found: Digest) -> Problem | None:
        """Return the problem if the digest is another one, else None."""
        if found == self.expected:
            return None
        where = "" if self.length == self.content.size else f" of the {self.length} bytes at {self.offset}"
        return Problem(
            kind="changed", path=self.path, expected=f"sha256 {self.expected}{where}", found=f"sha256 {found}"
        )


def _parts(expected: dict[str, ContentDigest]) -> list[_Part]:
    return [_Part(path, content, *part) for path, content in expected.items() for part in ranges(content)]


def check_contents(
    root: Path, expected: dict[str, ContentDigest], *, workers: int, whole: bool = False
) -> list[Problem]:
    """Compare each file, in parts and with so many threads; with ``whole`` the large ones as a whole too.

    Memory use does not depend on the length of the files.
    """
    parts = _parts(expected)
    if whole:
        large = {path: content for path, content in expected.items() if content.chunks}
        parts += [_Part(path, content, 0, content.size, content.sha256) for path, content in large.items()]
    # The longest first, so that no core is left with one while the others have nothing to do.
    parts.sort(key=lambda part: -part.length)
    found = parallel(lambda part: _check_part(root, part), parts, workers)
    # Each once: every part of a file of another length says the same.
    return list(dict.fromkeys(problem for problem in found if problem is not None))


def _check_part(root: Path, part: _Part) -> Problem | None:
    try:
        with PlainFile(root, part.path) as file:
            return file.wrong_size(part.content) or part.compared(hash_range(file.descriptor, part.offset, part.length))
    except (OSError, NotPlainError) as error:
        return unread(part.path, error)


def map_contents(
    root: Path, expected: dict[str, ContentDigest], *, workers: int
) -> tuple[dict[str, memoryview], list[Problem]]:
    """Map each file, compare the mapped pages, and return them by path, with what is wrong.

    Whoever uses the pages uses what was compared, also if the path leads to another file by then. Processes that map
    the same file have its pages once. What nobody can rule out is a file that is written to in place: pages follow it.
    """
    contents: dict[str, memoryview] = {}
    mapped: dict[str, mmap.mmap] = {}
    problems: list[Problem] = []
    for path, content in expected.items():
        try:
            with PlainFile(root, path) as file:
                if problem := file.wrong_size(content):
                    problems.append(problem)
                elif content.size:
                    mapped[path] = mmap.mmap(file.descriptor, content.size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
                    contents[path] = memoryview(mapped[path])
                else:  # what has no bytes cannot be mapped
                    contents[path] = memoryview(b"")
        except (OSError, NotPlainError) as error:
            problems.append(unread(path, error))
        except ValueError:  # mmap's own word for a file that was cut short since its size was compared
            problems.append(unread(path, OSError(errno.EFAULT, _CUT_SHORT)))
    parts = [part for part in _parts(expected) if part.path in contents]
    parts.sort(key=lambda part: -part.length)

    def compare(part: _Part) -> Problem | None:
        try:
            if part.length:
                _populate(mapped[part.path], part)
        except OSError as error:
            return unread(part.path, error)
        # All of a part at once: hashing takes the interpreter once for it, which others may hold for milliseconds.
        pages = contents[part.path][part.offset : part.offset + part.length]
        return part.compared(Digest(hashlib.sha256(pages).hexdigest()))

    found = parallel(compare, parts, workers)
    problems += dict.fromkeys(problem for problem in found if problem is not None)
    return contents, problems


def _populate(pages: mmap.mmap, part: _Part) -> None:
    """Bring pages into memory before they are touched, where the system can.

    Touching a page of a file that was cut short, or of a disk that fails, ends the process; asked for beforehand, the
    system reports it.

    Raises:
        OSError: A page cannot be read.
    """
    if sys.platform != "linux":
        return
    # Not mmap.madvise, which keeps the interpreter to itself: on a storage that stopped answering, no deadline would be
    # kept, and no signal heard. ctypes leaves the interpreter to others meanwhile.
    import ctypes  # noqa: PLC0415 - milliseconds, which importing this package need not take

    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.c_void_p(_address(pages) + part.offset)
    if libc.madvise(address, ctypes.c_size_t(part.length), ctypes.c_int(_POPULATE_READ)) != 0:
        number = ctypes.get_errno()
        if number != errno.EINVAL:  # a system that cannot
            raise OSError(number, _CUT_SHORT if number == errno.EFAULT else os.strerror(number))


def _address(pages: mmap.mmap) -> int:
    """Return where pages lie, which they do for as long as ``pages`` lives."""
    import ctypes  # noqa: PLC0415 - as above

    buffer = (ctypes.c_void_p * 16)()  # a Py_buffer, whose first field is the address, and some more
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(pages), buffer, ctypes.c_int(0))
    try:
        return buffer[0] or 0
    finally:
        ctypes.pythonapi.PyBuffer_Release(buffer)


def read_compared(root: Path, path: str, content: ContentDigest) -> bytes | Problem:
    """Return the bytes of a small file once they were compared, or what is wrong with it."""
    try:
        with PlainFile(root, path) as file:
            if problem := file.wrong_size(content):
                return problem
            data = os.pread(file.descriptor, content.size, 0)
    except (OSError, NotPlainError) as error:
        return unread(path, error)
    found = Digest.of(data)
    if found != content.sha256:
        return Problem(kind="changed", path=path, expected=f"sha256 {content.sha256}", found=f"sha256 {found}")
    return data


def unread(path: str, error: Exception) -> Problem:
    """Say why the content of a file could not be compared."""
    if isinstance(error, FileNotFoundError):
        return Problem(kind="missing", path=path, expected="a regular file", found="nothing")
    if isinstance(error, OSError):
        return Problem(kind="unreadable", path=path, expected="a readable file", found=reason(error))
    return Problem(kind="special", path=path, expected="a regular file", found=str(error))
