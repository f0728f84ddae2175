"""Giving memory back to the system once a model is gone."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def give_back() -> None:
    """Return to the system what the allocator keeps for later; where it cannot be told to, that is all right.

    Tokenizers are made of millions of small pieces of memory, which glibc keeps after they were freed.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
