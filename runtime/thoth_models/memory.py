"""Memory of loaded models: how much a variant is reckoned to take, and giving it back once it is gone."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thoth_models.manifest import Manifest
    from thoth_models.models import Variant

_TOKENIZER_FACTOR = 16
_BASE = {"onnx": 24 * 1024 * 1024, "torch": 48 * 1024 * 1024}


def resident_bytes(manifest: Manifest, variant: Variant) -> int:
    """Return how many bytes a variant is reckoned to take once it is loaded and has encoded something."""
    total = _BASE.get(variant.backend, 0)
    for path in variant.files:
        size = manifest.files[path].size
        total += size * _TOKENIZER_FACTOR if path.endswith("/tokenizer.json") else size
    return total


def give_back() -> None:
    """Return to the system what the allocator keeps for later; where it cannot be told to, that is all right.

    Tokenizers are made of millions of small pieces of memory, which glibc keeps after they were freed.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
