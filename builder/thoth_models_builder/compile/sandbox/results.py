"""What a confined process leaves: read as it is, without following anything, and then removed completely."""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from thoth_models_builder.compile.errors import SandboxError
from thoth_models_builder.compile.sandbox.confine import HOME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_MAX_COUNTED: Final = 100_000
"""Entries that are counted at most, so that counting ends."""
MAX_DEPTH: Final = 32
"""Directories in each other; libraries make fewer than ten."""
_BLOCK: Final = 512
_SHOWN: Final = 200
_DIRECTORY_MODE: Final = 0o755
_FILE_MODE: Final = 0o644


def measured(scratch: Path) -> tuple[int, int, int]:
    """Return the length of all files below a directory, the number of entries, counted up to a bound, and the depth.

    The length of a file is what it takes of the disk, if that is more.

    Raises:
        SandboxError: Something cannot be looked at.
    """
    size, entries, depth = 0, 0, 0
    for entry, relative in _entries(scratch):
        entries += 1
        depth = max(depth, relative.count("/"))
        with _looking_at(relative):
            status = entry.stat(follow_symlinks=False)
            size += max(status.st_size, status.st_blocks * _BLOCK)
        if entries > _MAX_COUNTED:
            break
    return size, entries, depth


def take_results(scratch: Path, target: Path, patterns: Mapping[str, int], given: frozenset[str]) -> list[str]:
    """Move the files that a confined process, which has ended, was to make; return their paths.

    Args:
        scratch: The directory that it wrote to.
        target: Directory on the same file system that the files are moved to, at the same relative paths.
        patterns: Regular expressions of the expected paths, each with the largest length in bytes. Other regular files
            stay.
        given: Paths of what was there before: the link to the source, and copies of files that the process read.

    Raises:
        SandboxError: It left something other than regular files and directories, too long a file, or something that
            cannot be looked at.
    """
    found: dict[str, int] = {}
    for entry, relative in _entries(scratch):
        with _looking_at(relative):
            status = entry.stat(follow_symlinks=False)
        if relative in given or stat.S_ISDIR(status.st_mode):
            continue
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise SandboxError(f"{relative}: expected a regular file from the confined process, found {_kind(status)}")
        limit = next((limit for pattern, limit in patterns.items() if re.fullmatch(pattern, relative)), None)
        if limit is None or _is_home(relative):
            continue
        if status.st_size > limit:
            raise SandboxError(f"{relative}: expected at most {limit} bytes, found {status.st_size}")
        found[relative] = status.st_size
    for relative in sorted(found):
        place = target / relative
        place.parent.mkdir(parents=True, exist_ok=True, mode=_DIRECTORY_MODE)
        (scratch / relative).replace(place)
        # The file itself, whatever becomes of its name.
        opened = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(opened)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_size != found[relative]:
                raise SandboxError(f"{relative}: expected a regular file of {found[relative]} bytes, found another")
            if os.geteuid() == 0:
                os.fchown(opened, os.geteuid(), os.getegid())
            os.fchmod(opened, _FILE_MODE)
        finally:
            os.close(opened)
    return sorted(found)


def remove_tree(directory: Path) -> None:
    """Remove a directory that a confined process wrote to, however deep, and whatever its permissions are.

    Raises:
        OSError: Something cannot be removed.
    """
    number = 0
    waiting = [directory]
    while waiting:
        current = waiting.pop()
        current.chmod(0o700)
        with os.scandir(current) as listed:
            entries = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in listed]
        for path, is_directory in entries:
            if not is_directory:
                os.unlink(path)  # noqa: PTH108 - a path as the system gave it
                continue
            # Moved up, so that no path becomes longer than the system allows.
            number += 1
            moved = directory.with_name(f"{directory.name}.{number}")
            os.chmod(path, 0o700)  # noqa: PTH101 - not a link, or it would not be a directory
            os.rename(path, moved)  # noqa: PTH104
            waiting.append(moved)
        current.rmdir()


def _entries(directory: Path) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Yield everything below a directory with its relative path.

    Raises:
        SandboxError: A directory cannot be listed.
    """
    waiting = [(str(directory), "")]
    while waiting:
        place, prefix = waiting.pop()
        entries: list[os.DirEntry[str]] = []
        with _looking_at(prefix), os.scandir(place) as listed:
            entries = list(listed)
        for entry in entries:
            relative = f"{prefix}{entry.name}"
            yield entry, relative
            if entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, f"{relative}/"))


@contextmanager
def _looking_at(relative: str) -> Iterator[None]:
    """Ignore that something has been removed meanwhile; anything else would hide what it contains."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise SandboxError(
            f"{relative[:_SHOWN]}: expected what the confined process writes to be readable, found: {error.strerror}"
        ) from error


def _is_home(relative: str) -> bool:
    return relative.partition("/")[0] == HOME


def _kind(status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return "a symlink"
    return "a file with several names" if stat.S_ISREG(status.st_mode) else "something else"
