"""``report.json``: the figures that were measured of each variant when a bundle was built. Information only.

Pure: bytes in, values out. The file lies beside the bundle, not in it: ``bundle.report.json`` for the directory
``bundle`` (docs/decisions/0018). Measured figures differ in their last digits between processors, and the bundle does
not. The report names the bundle digest that it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from thoth_models.bundle.accuracy import Accuracy
from thoth_models.bundle.canonical_json import canonical_json, parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thoth_models.bundle.digest import Digest

REPORT_SUFFIX: Final = ".report.json"
"""Appended to the name of the bundle's directory."""

_VERSION: Final = 2

_WITHOUT_COSINES: Final = 1
"""The version of releases whose figures have no cosine for each golden text; it is read as well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The measured figures of one bundle's variants.

    Attributes:
        bundle_digest: The bundle that the figures belong to.
        models: The figures, by model and variant.
    """

    bundle_digest: Digest
    models: Mapping[str, Mapping[str, Accuracy]]

    def of(self, model: str, variant: str) -> Accuracy | None:
        """Return the figures of a variant; None if there are none."""
        return self.models.get(model, {}).get(variant)

    def to_bytes(self) -> bytes:
        """Return the canonical JSON."""
        return canonical_json(
            {
                "version": _VERSION,
                "bundle_digest": self.bundle_digest.hex,
                "models": {
                    name: {variant: accuracy.to_document() for variant, accuracy in variants.items()}
                    for name, variants in self.models.items()
                },
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Parse the JSON.

        Raises:
            FormatError: The document does not have the form of a report of this release.
        """
        keys = parse_json(data).members("version", "bundle_digest", "models")
        keys["version"].one_of(_VERSION, _WITHOUT_COSINES)
        return cls(
            bundle_digest=keys["bundle_digest"].digest(),
            models={
                model.key: {variant.key: Accuracy.from_node(variant) for variant in model.mapping()}
                for model in keys["models"].mapping()
            },
        )
