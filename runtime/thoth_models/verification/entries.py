"""Compare the entries of a bundle with the expected ones: names, kinds and modes, not content. Symlinks are refused.

Used by :mod:`thoth_models.verification.verify`, and by :mod:`thoth_models.cli.doctor` for checks without content.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Literal

from thoth_models.bundle.hidden_characters import escaped
from thoth_models.errors import Problem
from thoth_models.verification.regular_file import kind_of, mode_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check_tree(root: Path, below: str, expected: set[str]) -> Iterator[Problem]:
    """Compare the entries below a directory of the bundle with the ``expected`` file paths, without following links."""
    directories = parents(expected)
    for path in _ancestors(below):
        mode = mode_of(root / path)
        if mode is None or not stat.S_ISDIR(mode):
            kind: Literal["missing", "special"] = "missing" if mode is None else "special"
            yield Problem(kind=kind, path=path, expected="a directory", found=kind_of(mode))
            return
    found: set[str] = set()
    pending = [below]
    while pending:
        directory = pending.pop()
        try:
            with os.scandir(root / directory) as scan:
                entries = [f"{directory}/{entry.name}" if directory else entry.name for entry in scan]
        except OSError as error:
            yield Problem(
                kind="unreadable", path=directory or ".", expected="a readable directory", found=reason(error)
            )
            continue
        found.update(entries)
        for path in entries:
            mode = mode_of(root / path)
            if path in directories and mode is not None and stat.S_ISDIR(mode):
                pending.append(path)
            elif problem := _check_entry(path, mode, expected, directories):
                yield problem
    for path in expected - found:
        yield Problem(kind="missing", path=path, expected="a regular file", found="nothing")


def _check_entry(path: str, mode: int | None, expected: set[str], directories: set[str]) -> Problem | None:
    if path in directories:
        return Problem(kind="special", path=path, expected="a directory", found=kind_of(mode))
    if path not in expected:
        return Problem(kind="extra", path=escaped(path, keep=""), expected="nothing", found=kind_of(mode))
    if mode is None or not stat.S_ISREG(mode):
        return Problem(kind="special", path=path, expected="a regular file", found=kind_of(mode))
    return None


def check_permissions(root: Path, paths: set[str]) -> Iterator[Problem]:
    """Yield the files and directories that users other than the owner may write.

    Args:
        root: The bundle root.
        paths: The files, as paths below the root; the directories above them, and the root, are looked at as well.
    """
    for path in [".", *sorted(paths | parents(paths))]:
        mode = mode_of(root / path)
        if mode is not None and not stat.S_ISLNK(mode) and mode & _OTHERS_MAY_WRITE:
            yield Problem(
                kind="writable",
                path=path,
                expected="no write permission for group and others",
                found=f"mode {stat.S_IMODE(mode):04o}",
            )


def parents(paths: Iterable[str]) -> set[str]:
    """Return every directory that contains one of ``paths``, except the root."""
    return {ancestor for path in paths for ancestor in _ancestors(path)[:-1]}


def _ancestors(below: str) -> list[str]:
    parts = below.split("/") if below else []
    return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def reason(error: OSError) -> str:
    """Return the system's message for a failure."""
    return error.strerror or type(error).__name__
