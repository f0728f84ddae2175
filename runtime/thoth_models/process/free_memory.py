"""Return memory that was freed to the system."""

from __future__ import annotations

import contextlib
import ctypes


def return_free_memory() -> None:
    """Return free memory of the allocator to the system, if the C library supports it.

    glibc keeps small blocks, and does not find a freed aligned block again for a request of the same size.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
