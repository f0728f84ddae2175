"""Memory of loaded models: estimate the memory of a variant, and return the memory of an evicted one to the system."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from thoth_models.process.free_memory import return_free_memory

if TYPE_CHECKING:
    from thoth_models.bundle.manifest import Manifest
    from thoth_models.bundle.model import Variant

_BASE = {"onnx": 32 * 1024 * 1024, "torch": 64 * 1024 * 1024}
"""Bytes for running a batch, and for what libraries store for a model besides its files."""

_TOKENIZER_FACTOR = 24
"""Memory of a tokenizer divided by its file size: 123 MB were measured for a file of 5.3 MB with 250,037 pieces."""

_PACKED = ("int8",)
"""Precisions whose weights onnxruntime repacks, so that each process has a second copy."""


def resident_bytes(manifest: Manifest, variant: Variant) -> int:
    """Estimate how many bytes a variant takes after it was loaded and has encoded some texts.

    Measured growth of the resident set, libraries not counted, and the estimate: all-MiniLM-L6-v2 96 of 128 MB
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
    """Return free memory of the allocator to the system, if the C library supports it.

    Tokenizers consist of millions of small allocations.
    """
    gc.collect()
    return_free_memory()
