"""Compare the content of files with their digests: by reading them, or by mapping them for backends to use.

Used by :mod:`thoth_models.verification.verify`; :mod:`thoth_models.cli.doctor` uses its messages for unreadable files.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from thoth_models.bundle.digest import Digest, hash_range, ranges
from thoth_models.errors import Problem
from thoth_models.process.parallel import parallel
from thoth_models.verification.entries import reason
from thoth_models.verification.regular_file import NotRegularError, RegularFile

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.bundle.digest import ContentDigest


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
        """Return the problem if the digest differs, else None."""
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
    """Compare each file, in parts, with ``workers`` threads; with ``whole``, compare large files as a whole too.

    Memory use does not depend on the length of the files.
    """
    parts = _parts(expected)
    if whole:
        large = {path: content for path, content in expected.items() if content.chunks}
        parts += [_Part(path, content, 0, content.size, content.sha256) for path, content in large.items()]
    # The longest parts first, so that all cores finish at about the same time.
    parts.sort(key=lambda part: -part.length)
    found = parallel(lambda part: _check_part(root, part), parts, workers)
    # Without repetitions: if a file has the wrong length, every part of it reports that.
    return list(dict.fromkeys(problem for problem in found if problem is not None))


def _check_part(root: Path, part: _Part) -> Problem | None:
    try:
        with RegularFile(root, part.path) as file:
            return file.wrong_size(part.content) or part.compared(hash_range(file.descriptor, part.offset, part.length))
    except (OSError, NotRegularError) as error:
        return unread(part.path, error)


def map_contents(
    root: Path, expected: dict[str, ContentDigest], *, workers: int
) -> tuple[dict[str, memoryview], list[Problem]]:
    """Map each file, compare the mapped pages, and return the pages by path, and the problems.

    The pages that were compared are used later, even if the path leads to another file by then. Processes that map the
    same file share its pages. This does not protect against a file that is written in place: mapped pages follow it.
    """
    contents: dict[str, memoryview] = {}
    mapped: dict[str, mmap.mmap] = {}
    problems: list[Problem] = []
    for path, content in expected.items():
        try:
            with RegularFile(root, path) as file:
                if problem := file.wrong_size(content):
                    problems.append(problem)
                elif content.size:
                    mapped[path] = mmap.mmap(file.descriptor, content.size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
                    contents[path] = memoryview(mapped[path])
                else:  # an empty file cannot be mapped
                    contents[path] = memoryview(b"")
        except (OSError, NotRegularError) as error:
            problems.append(unread(path, error))
        except ValueError:  # raised by mmap if the file was truncated after its size was compared
            problems.append(unread(path, OSError(errno.EFAULT, _CUT_SHORT)))
    parts = [part for part in _parts(expected) if part.path in contents]
    parts.sort(key=lambda part: -part.length)

    def compare(part: _Part) -> Problem | None:
        try:
            if part.length:
                _populate(mapped[part.path], part)
        except OSError as error:
            return unread(part.path, error)
        # The whole part in one call: each call of the hash waits for the interpreter lock, for milliseconds.
        pages = contents[part.path][part.offset : part.offset + part.length]
        return part.compared(Digest(hashlib.sha256(pages).hexdigest()))

    found = parallel(compare, parts, workers)
    problems += dict.fromkeys(problem for problem in found if problem is not None)
    return contents, problems


def _populate(pages: mmap.mmap, part: _Part) -> None:
    """Read pages into memory before they are accessed, if the system supports it.

    Accessing a page of a truncated file, or of a failing disk, ends the process. If the page is requested beforehand,
    the system reports an error instead.

    Raises:
        OSError: A page cannot be read.
    """
    if sys.platform != "linux":
        return
    # Not mmap.madvise, which holds the interpreter lock: with storage that stopped answering, deadlines and signals
    # would not work. ctypes releases the lock during the call.
    import ctypes  # noqa: PLC0415 - takes milliseconds, which importing this package should not

    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.c_void_p(_address(pages) + part.offset)
    if libc.madvise(address, ctypes.c_size_t(part.length), ctypes.c_int(_POPULATE_READ)) != 0:
        number = ctypes.get_errno()
        if number != errno.EINVAL:  # a system that cannot
            raise OSError(number, _CUT_SHORT if number == errno.EFAULT else os.strerror(number))


def _address(pages: mmap.mmap) -> int:
    """Return the address of pages; it is valid as long as ``pages`` lives."""
    import ctypes  # noqa: PLC0415 - as above

    buffer = (ctypes.c_void_p * 16)()  # a Py_buffer, whose first field is the address, and some more
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(pages), buffer, ctypes.c_int(0))
    try:
        return buffer[0] or 0
    finally:
        ctypes.pythonapi.PyBuffer_Release(buffer)


def read_compared(root: Path, path: str, content: ContentDigest) -> bytes | Problem:
    """Compare a small file, and return its bytes or the problem."""
    try:
        with RegularFile(root, path) as file:
            if problem := file.wrong_size(content):
                return problem
            data = os.pread(file.descriptor, content.size, 0)
    except (OSError, NotRegularError) as error:
        return unread(path, error)
    found = Digest.of(data)
    if found != content.sha256:
        return Problem(kind="changed", path=path, expected=f"sha256 {content.sha256}", found=f"sha256 {found}")
    return data


def unread(path: str, error: Exception) -> Problem:
    """Return the problem that the content of a file could not be compared."""
    if isinstance(error, FileNotFoundError):
        return Problem(kind="missing", path=path, expected="a regular file", found="nothing")
    if isinstance(error, OSError):
        return Problem(kind="unreadable", path=path, expected="a readable file", found=reason(error))
    return Problem(kind="special", path=path, expected="a regular file", found=str(error))
