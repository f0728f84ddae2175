"""The statement of the licences in a bundle: its bill of materials, compared with the licences of the manifest. Pure.

The predicate is CycloneDX's own, so policies and scanners that read such attestations can read it
(docs/decisions/0038-attestations.md). :mod:`thoth_models_builder.trust.sbom` writes the document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from thoth_models_builder.spec.licences.names import licence_of
from thoth_models_builder.trust.attestations.differences import Difference, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thoth_models.bundle.canonical_json import Node
    from thoth_models.bundle.manifest import Manifest

LICENCES: Final = "https://cyclonedx.org/bom"
"""Type of the predicate."""

_MODEL: Final = "machine-learning-model"


def licence_differences(predicate: Node, manifest: Manifest) -> Iterator[Difference]:
    """Yield each model of a bundle whose licence in the bill of materials is not that of the manifest.

    Raises:
        FormatError: The predicate is not a bill of materials by CycloneDX.
    """
    predicate["bomFormat"].one_of("CycloneDX")
    components = predicate["components"].items()
    found = {item["name"].text(): item for item in components if item["type"].value == _MODEL}
    for model in manifest.models.values():
        if model.built is None:
            continue
        if model.name not in found:
            yield Difference(predicate["components"].path, f"the model {model.name}", "none of that name")
            continue
        licence = licence_of(model.built.license)
        expected = [] if licence is None else [licence.name if licence.is_name else licence.spdx]
        node = found[model.name]
        stated = [_stated(item) for item in node["licenses"].items()] if "licenses" in node else []
        if stated != expected:
            yield Difference(f"{node.path}.licenses", shown(expected), shown(stated))


def _stated(item: Node) -> str:
    if "expression" in item:
        return item["expression"].text()
    licence = item["license"]
    return licence["id" if "id" in licence else "name"].text()
