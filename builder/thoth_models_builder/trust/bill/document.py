"""Compose bills of materials of their parts.

cyclonedx-python-lib 11 has no types for ``modelCard``, ``compositions`` and ``formulation``. They are added to the JSON
that it writes, and the tests compare the whole with its own schema.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Final

from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6

from thoth_models.bundle.digest import Digest
from thoth_models_builder import __version__
from thoth_models_builder.trust.bill.model_card import model_card
from thoth_models_builder.trust.bill.models import derived_files, file_ref, model_component, model_ref, weights_of
from thoth_models_builder.trust.bill.packages import machine_of, tool_refs, tools, wheel_component
from thoth_models_builder.trust.bill.parts import PREFIX, file_address, properties, sha256
from thoth_models_builder.trust.bill.source_facts import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from thoth_models.bundle.manifest import Manifest, Model
    from thoth_models.bundle.model import BuildRecord
    from thoth_models.bundle.report import Report
    from thoth_models_builder.trust.bill.source_facts import SourceFacts
    from thoth_models_builder.trust.sbom import ImageContent

_NAMESPACE: Final = uuid.UUID("3bd76a1b-9a0d-5a43-8c62-2f8f6f6c7a10")
"""Namespace of the serial numbers, which are uuid5. Generated randomly once."""


def bundle_document(manifest: Manifest, report: Report | None, facts: Mapping[str, SourceFacts]) -> dict[str, Any]:
    """Return the bill of a bundle."""
    bundle, models = _bundle(manifest), _models(manifest, facts)
    made_with = _tools(manifest)
    bom = Bom(metadata=_metadata(bundle), components=[*models, *made_with])
    bom.register_dependency(bundle, models)
    return _finished(bom, manifest, report, facts, _compositions(manifest, str(bundle.bom_ref), made_with))


def image_document(
    image: ImageContent, manifest: Manifest, report: Report | None, facts: Mapping[str, SourceFacts]
) -> dict[str, Any]:
    """Return the bill of an image: of its bundle, and of the wheels in it."""
    about = Component(
        name=image.name,
        type=ComponentType.CONTAINER if image.is_runnable else ComponentType.DATA,
        bom_ref=f"image:{image.digest}",
        version=f"sha256:{image.digest}",
        description="An image with a bundle of embedding models.",
        hashes=[sha256(image.digest)],
        properties=properties({"hash-of": "the manifest of the image, or its index"}),
    )
    bundle, models = _bundle(manifest), _models(manifest, facts)
    wheels, made_with = [wheel_component(wheel) for wheel in image.wheels], _tools(manifest)
    bom = Bom(metadata=_metadata(about), components=[bundle, *models, *wheels, *made_with])
    bom.register_dependency(about, [bundle, *wheels])
    bom.register_dependency(bundle, models)
    compositions = _compositions(manifest, str(bundle.bom_ref), [*wheels, *made_with])
    is_complete = image.is_complete and _is_complete(manifest)
    ref = str(about.bom_ref)
    whole = {"aggregate": "complete" if is_complete else "incomplete", "assemblies": [ref], "dependencies": [ref]}
    return _finished(bom, manifest, report, facts, [whole, *compositions])


def _metadata(about: Component) -> BomMetaData:
    builder = Component(name="thoth-models-builder", type=ComponentType.APPLICATION, version=__version__)
    return BomMetaData(component=about, tools=ToolRepository(components=[builder]))


def _bundle(manifest: Manifest) -> Component:
    digest = Digest.of(manifest.to_bytes())
    return Component(
        name=manifest.name,
        type=ComponentType.DATA,
        bom_ref=f"bundle:{digest}",
        version=f"sha256:{digest}",
        description="A bundle of embedding models.",
        hashes=[sha256(digest)],
        properties=properties(
            {"default": manifest.default, "set-digest": Digest.of(manifest.checksums()).hex, "hash-of": "manifest.json"}
        ),
    )


def _models(manifest: Manifest, facts: Mapping[str, SourceFacts]) -> list[Component]:
    return [model_component(model, manifest, facts.get(name, UNKNOWN)) for name, model in manifest.models.items()]


def _records(manifest: Manifest) -> Iterator[tuple[Model, BuildRecord]]:
    """Yield each model that was compiled, with its record."""
    for model in manifest.models.values():
        if model.built is not None and model.built.record is not None:
            yield model, model.built.record


def _tools(manifest: Manifest) -> list[Component]:
    return tools(record.toolchain for _, record in _records(manifest))


def _is_complete(manifest: Manifest) -> bool:
    return all(model.built is not None for model in manifest.models.values())


def _compositions(manifest: Manifest, bundle: str, packages: Sequence[Component]) -> list[dict[str, Any]]:
    """Return what is known to be listed in full, and what is not.

    Of an absent model, only the name is listed. What packages need themselves is not listed as such.
    """
    complete = [model_ref(name) for name, model in manifest.models.items() if model.built is not None]
    absent = [model_ref(name) for name, model in manifest.models.items() if model.built is None]
    whole = {"assemblies": [bundle], "dependencies": [bundle]}
    found: list[dict[str, Any]] = [{"aggregate": "incomplete" if absent else "complete", **whole}]
    if complete:
        found.append({"aggregate": "complete", "assemblies": sorted(complete)})
    if absent:
        found.append({"aggregate": "incomplete", "assemblies": sorted(absent)})
    if packages:
        found.append({"aggregate": "unknown", "dependencies": sorted(str(part.bom_ref) for part in packages)})
    return found


def _finished(
    bom: Bom,
    manifest: Manifest,
    report: Report | None,
    facts: Mapping[str, SourceFacts],
    compositions: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Return the document, with the parts that the library has no types for."""
    document: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    del document["metadata"]["timestamp"]  # which the library always adds
    cards = {
        model_ref(name): model_card(model, model.built, report, facts.get(name, UNKNOWN))
        for name, model in manifest.models.items()
        if model.built is not None
    }
    for component in document.get("components", ()):
        if component["bom-ref"] in cards:
            component["modelCard"] = cards[component["bom-ref"]]
    document["compositions"] = list(compositions)
    if formulas := [_formula(model, record, manifest) for model, record in _records(manifest)]:
        document["formulation"] = formulas
    # The library's number is random. The same bill has the same number, and another one, say with figures, another.
    del document["serialNumber"]
    content = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(_NAMESPACE, content)}"
    return document


def _formula(model: Model, record: BuildRecord, manifest: Manifest) -> dict[str, Any]:
    """Return how the compiled files of a model were made: from which weights, with which toolchain, to which files."""
    weights: list[dict[str, Any]] = [{"ref": file_ref(path)} for path in weights_of(manifest, model.name)]
    origin = None if model.built is None else model.built.origin
    if not weights and origin is not None and (address := file_address(origin, "", how="tree")) is not None:
        weights = [{"externalReference": {"type": "distribution", "url": address}}]
    facts = {"machine": machine_of(record.toolchain), "derivation": record.derivation.hex}
    workflow: dict[str, Any] = {
        "bom-ref": f"workflow:{model.name}",
        "uid": record.derivation.hex,
        "name": f"compile {model.name}",
        "taskTypes": ["build"],
        "resourceReferences": [{"ref": ref} for ref in tool_refs(record.toolchain)],
        "outputs": [
            {"type": "artifact", "resource": {"ref": file_ref(path)}} for path in derived_files(manifest, model.name)
        ],
        "properties": [{"name": f"{PREFIX}:{name}", "value": text} for name, text in facts.items() if text],
    }
    if weights:
        workflow["inputs"] = [{"resource": resource} for resource in weights]
    return {"bom-ref": f"formula:{model.name}", "workflows": [workflow]}
