"""Check before writing that the disks have enough space."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thoth_models_builder.errors import NotEnoughSpaceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Number of bytes to be written below a path, which may not exist yet."""

    path: Path
    bytes: int


def require_space(needs: Iterable[Need]) -> list[tuple[Path, int, int]]:
    """Return for each disk a path on it, the bytes needed, and the bytes free.

    Raises:
        NotEnoughSpaceError: A disk does not have enough space.
    """
    by_device: dict[int, list[tuple[Path, int]]] = defaultdict(list)
    for need in needs:
        existing = _existing(need.path)
        by_device[os.stat(existing).st_dev].append((need.path, need.bytes))  # noqa: PTH116 - as the next line
    found = []
    for places in by_device.values():
        path, needed = places[0][0], sum(size for _, size in places)
        free = shutil.disk_usage(_existing(path)).free
        if needed > free:
            raise NotEnoughSpaceError(f"{path}: expected {needed:,} bytes free, found {free:,}")
        found.append((path, needed, free))
    return found


def _existing(path: Path) -> Path:
    absolute = path.absolute()
    return next(place for place in (absolute, *absolute.parents) if place.exists())
