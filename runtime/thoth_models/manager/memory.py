"""Memory of loaded models: how much a variant is reckoned to take, and giving it back once it is gone."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thoth_models.manifest import Manifest
    from thoth_models.models import Variant

_BASE = {"onnx": 32 * 1024 * 1024, "torch": 64 * 1024 * 1024}
"""What running a batch takes, and what libraries keep for a model beside its files."""

_TOKENIZER_FACTOR = 24
"""A tokenizer in memory, over its file: 123 MB were measured for the 5.3 MB of 250,037 pieces."""

_PACKED = ("int8",)
"""Precisions whose weights onnxruntime packs anew, so that each process has them a second time."""


def resident_bytes(manifest: Manifest, variant: Variant) -> int:
    """Return how many bytes a variant is reckoned to take once it is loaded and has encoded something.

    Measured as growth of the resident set, libraries not counted, over what is reckoned: all-MiniLM-L6-v2 96 of 128 MB
    as onnx-fp32, 47 to 86 of 87 as onnx-int8, 118 of 160 as torch-fp32; a model of 471 MB 571 of 607 as onnx-fp32.
    """
    total = _BASE.get(variant.backend, 0)
    for path in variant.files:
        size = manifest.files[path].size
        if path.endswith("/tokenizer.json"):
            total += size * _TOKENIZER_FACTOR
        else:
            total += size * (2 if variant.precision in _PACKED and variant.backend == "onnx" else 1)
    return total


def give_back() -> None:
    """Return to the system what the allocator keeps for later; where it cannot be told to, that is all right.

    Tokenizers are made of millions of small pieces of memory, which glibc keeps after they were freed.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
