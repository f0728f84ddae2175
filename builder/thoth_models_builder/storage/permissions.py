"""Whether users other than the builder's may have written a file that is taken as it is: a record of the store."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def writable_by_all(places: Sequence[Path]) -> str | None:
    """Return which of some files and directories every user may write, and its mode, in words; None for none.

    The group may: it is often that of the user alone, and caches of CI systems are restored with others. So may all
    users in a directory like ``/tmp``, in which they cannot replace what belongs to another. What cannot be examined is
    left to the error of reading it.
    """
    for place, status in _examined(places):
        mode = status.st_mode
        if mode & stat.S_IWOTH and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
            return f"{place}: expected a place that not every user may write, found mode {stat.S_IMODE(mode):04o}"
    return None


def other_owner(places: Sequence[Path]) -> str | None:
    """Return which of some files and directories belongs neither to this user nor to root, in words; None for none."""
    for place, status in _examined(places):
        if status.st_uid not in (0, os.geteuid()):
            return f"{place}: expected this user or root as its owner, found the user with id {status.st_uid}"
    return None


def _examined(places: Sequence[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    for place in places:
        with contextlib.suppress(OSError):
            yield place, place.stat()
