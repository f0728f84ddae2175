"""Bills of materials in tests: bundles with a full record of how they were made, and what a bill says of them."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.support.bundles import ModelPlan, VariantPlan, golden_of, invented_model, make_bundle, proved, seal
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.model import ConfiguredFile
from thoth_models_builder.trust.bill.source_facts import SourceFacts
from thoth_models_builder.trust.sbom import as_text, sbom

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from thoth_models.bundle.manifest import BuiltModel, Manifest
    from thoth_models.bundle.report import Report

VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)
"""One for all: it reads the schema, which takes longest, only once."""

TOOLCHAIN = {
    "compiler": "0cb11d0c89f7",
    "machine": "x86_64",
    "onnx": "1.23.2",
    "python": "3.11",
    "torch": "2.13.0+cpu",
}
PICKLE = Digest.of(b"a pickle").hex
ORIGINAL = Digest.of(b"modules of the origin")
ABOUT = json.dumps({"model_type": "bert", "architectures": ["BertModel"]}).encode()
FACTS = {"mini": SourceFacts(family="bert", architecture="BertModel")}
"""What these files say."""

SOURCE = {"config.json": ABOUT, "model.safetensors": b"weights", "tokenizer.json": b"tokens", "modules.json": b"[]"}


@functools.cache
def refused(text: str) -> str | None:
    """Why CycloneDX's schema refuses a text, or None. Kept, because it takes a third of a second."""
    error = VALIDATOR.validate_str(text)
    return None if error is None else str(error)[:2000]


def validated(document: dict[str, Any]) -> dict[str, Any]:
    """The document as it is read again, if CycloneDX's own schema accepts it."""
    text = as_text(document)
    assert refused(text) is None
    return json.loads(text)  # type: ignore[no-any-return]


def materials(
    manifest: Manifest, report: Report | None = None, facts: Mapping[str, SourceFacts] | None = None
) -> dict[str, Any]:
    return validated(sbom(manifest, report, facts or {}))


def component(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [part for part in document["components"] if part["name"] == name]
    return dict(found)


def file_of(document: dict[str, Any], path: str) -> dict[str, Any]:
    model = component(document, path.partition("/")[0])
    (found,) = [file for file in model["components"] if file["name"] == path]
    return dict(found)


def properties(part: dict[str, Any]) -> dict[str, str]:
    return {fact["name"].removeprefix("thoth-models:"): fact["value"] for fact in part.get("properties", ())}


def compiled_bundle(root: Path, *, with_source: bool = True) -> Manifest:
    """A bundle with one compiled model, `mini`, and one that is absent, `gone`."""
    graph = {"model.onnx": b"graph", "model.onnx.data": b"numbers", "tokenizer.json": b"fast", "settings.json": b"{}"}
    variants = {
        "onnx-fp32": VariantPlan(files=graph, backend="onnx", directory="onnx-fp32"),
        "onnx-int8": VariantPlan(files=graph, backend="onnx", directory="onnx-int8"),
    }
    if with_source:
        variants["torch-fp32"] = VariantPlan(files=SOURCE)
    plan = ModelPlan(name="mini", variants=variants, aliases=("small",), prompts={"query": "query: ", "document": ""})
    plan = proved(plan, golden_of(["a text"]))
    gone = replace(invented_model("gone", alternates=(("mini", "accept"),)), variants={})
    manifest = changed(make_bundle(root, [plan, gone], default="mini"), "mini", toolchain=TOOLCHAIN)
    seal(root, manifest)
    return manifest


def changed(manifest: Manifest, name: str = "mini", **changes: Any) -> Manifest:
    """The manifest with other facts of a model that was built; those of its record included."""
    model = manifest.models[name]
    assert model.built is not None
    built: BuiltModel = model.built
    of_record = {key: changes.pop(key) for key in ("toolchain", "converted", "omitted") if key in changes}
    if of_record:
        assert built.record is not None
        built = replace(built, record=replace(built.record, **of_record))
    return replace(manifest, models={**manifest.models, name: replace(model, built=replace(built, **changes))})


def configured(path: str, *, origin: Digest | None = ORIGINAL) -> ConfiguredFile:
    return ConfiguredFile(path=path, origin=origin, reasons=("pooling: cls", "another"))
