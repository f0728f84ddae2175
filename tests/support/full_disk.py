"""A disk that has no space for a whole file."""

from __future__ import annotations

import contextlib
import resource
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = bytes(range(256)) * 80
"""Content that is longer than a file can be within :func:`little_space`."""


@contextlib.contextmanager
def little_space(space: int = 4096) -> Iterator[None]:
    """End every file of this process after some bytes: as on a full disk, a longer write first writes a part."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (space, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
