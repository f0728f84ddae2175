"""``diff --layers`` and ``sbom``: telling about bundles and images that are there; wires ``oci`` and ``supply``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thoth_models.verify import open_bundle
from thoth_models_builder import supply
from thoth_models_builder.oci.comparison import STATES, LayerDiff, compare_layouts

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["STATES", "LayerDiff", "compare_layers", "sbom"]


def compare_layers(before: Path, after: Path) -> tuple[LayerDiff, ...]:
    """Compare the images in two layouts, layer by layer; one answer for each group of platforms.

    Raises:
        LayoutError: One is no layout, or a document of it is missing or wrong.
    """
    return compare_layouts(before, after)


def sbom(root: Path) -> str:
    """Return the bill of materials of a bundle, as its manifest has it; model files are not compared with it.

    Raises:
        BundleError: It is missing, or its manifest is malformed or changed.
        UsageError: The extra ``sbom`` is not installed.
    """
    bundle = open_bundle(root)
    return supply.sbom(bundle.manifest, bundle.bundle_digest)
