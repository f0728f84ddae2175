"""How much memory a loaded variant is reckoned to take. Pure: sizes from the manifest in, bytes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thoth_models.manifest import Manifest
    from thoth_models.models import Variant

_TOKENIZER_FACTOR = 16
_FACTORS = {"fp32": 1.0}
_BASE = {"onnx": 24 * 1024 * 1024, "torch": 48 * 1024 * 1024}


def resident_bytes(manifest: Manifest, variant: Variant) -> int:
    """Return how many bytes a variant takes once it is loaded and has encoded something, as a bound from above."""
    total = _BASE.get(variant.backend, 0)
    for path in variant.files:
        size = manifest.files[path].size
        total += size * _TOKENIZER_FACTOR if path.endswith("/tokenizer.json") else size
    return total
