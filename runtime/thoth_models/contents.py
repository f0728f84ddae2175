"""Comparing the content of files with their digests: by reading them, or by mapping them for those who will use them.

Used by :mod:`thoth_models.verify` alone.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from typing import TYPE_CHECKING, NamedTuple

from thoth_models.digest import Digest, hash_range, ranges
from thoth_models.errors import Problem
from thoth_models.parallel import parallel
from thoth_models.plainfile import NotPlainError, PlainFile
from thoth_models.tree import reason

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.digest import ContentDigest


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

    Files are read, not mapped: one that is cut short, or lies on a disk that fails, meanwhile is a problem that is
    reported, where a page that cannot be read would end the process.
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
    the same file have its pages once. A page that cannot be read ends the process, as it would when a library that maps
    its weights came upon it later; the length is compared before any page is touched.
    """
    contents: dict[str, memoryview] = {}
    problems: list[Problem] = []
    for path, content in expected.items():
        try:
            with PlainFile(root, path) as file:
                if problem := file.wrong_size(content):
                    problems.append(problem)
                else:
                    contents[path] = _map(file.descriptor, content.size)
        except (OSError, NotPlainError) as error:
            problems.append(unread(path, error))
    parts = [part for part in _parts(expected) if part.path in contents]
    parts.sort(key=lambda part: -part.length)

    def compare(part: _Part) -> Problem | None:
        # All of a part at once: hashing takes the interpreter once for it, which others may hold for milliseconds.
        pages = contents[part.path][part.offset : part.offset + part.length]
        return part.compared(Digest(hashlib.sha256(pages).hexdigest()))

    problems += [problem for problem in parallel(compare, parts, workers) if problem is not None]
    return contents, problems


def _map(descriptor: int, size: int) -> memoryview:
    # What has no bytes cannot be mapped.
    return memoryview(mmap.mmap(descriptor, size, prot=mmap.PROT_READ)) if size else memoryview(b"")


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
