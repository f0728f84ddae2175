"""Write the bill of materials of a bundle, by https://cyclonedx.org: models, files, hashes, origins and licences.

A CycloneDX 1.6 document in JSON, generated from the manifest alone. It does not depend on time, machine or user: the
serial number is derived from the bundle digest, and there is no timestamp.

The library is in the extra ``sbom``, because builds do not need it.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Any

from thoth_models.bundle.digest import Digest
from thoth_models_builder import __version__
from thoth_models_builder.errors import UsageError
from thoth_models_builder.spec.licences.names import licence_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cyclonedx.model import HashType, Property
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License
    from packageurl import PackageURL

    from thoth_models.bundle.digest import ContentDigest
    from thoth_models.bundle.manifest import BuiltModel, Manifest, Model, Origin

PREFIX = "thoth-models"
"""Prefix of the names of properties that have no field in CycloneDX."""

_NAMESPACE = uuid.UUID("3bd76a1b-9a0d-5a43-8c62-2f8f6f6c7a10")
"""Namespace of the serial numbers, which are uuid5 of the bundle digest. Generated randomly once."""


def sbom(manifest: Manifest, bundle_digest: Digest) -> str:
    """Return the bill of materials of a bundle as JSON, which ends with a newline.

    Raises:
        UsageError: The extra ``sbom`` is not installed.
    """
    try:
        from cyclonedx.model.bom import Bom, BomMetaData  # noqa: PLC0415 - the extra
        from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415
        from cyclonedx.model.tool import ToolRepository  # noqa: PLC0415
        from cyclonedx.output.json import JsonV1Dot6  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            f"expected the extra `sbom` (pip install 'thoth-models-builder[sbom]'), found no {error.name}"
        ) from error
    bundle = Component(
        name=manifest.name,
        type=ComponentType.DATA,
        bom_ref=f"bundle:{bundle_digest}",
        version=f"sha256:{bundle_digest}",
        description="A bundle of embedding models.",
        hashes=[_hash(bundle_digest)],
        properties=_properties(
            {"default": manifest.default, "set-digest": Digest.of(manifest.checksums()).hex, "hash-of": "manifest.json"}
        ),
    )
    models = [_model(model, manifest) for model in manifest.models.values()]
    builder = Component(name="thoth-models-builder", type=ComponentType.APPLICATION, version=__version__)
    document = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, bundle_digest.hex),
        metadata=BomMetaData(component=bundle, tools=ToolRepository(components=[builder])),
        components=models,
    )
    document.register_dependency(bundle, models)
    return _canonical(JsonV1Dot6(document).output_as_string())


def _canonical(text: str) -> str:
    """Return the document in canonical form, without the timestamp that the library always adds."""
    document: dict[str, Any] = json.loads(text)
    del document["metadata"]["timestamp"]
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _model(model: Model, manifest: Manifest) -> Component:
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415

    facts: dict[str, str | None] = {
        "aliases": ", ".join(model.aliases),
        "alternates": ", ".join(alternate.model for alternate in model.alternates),
        "dimension": str(model.dimension),
        "state": "absent" if model.built is None else "present",
    }
    if model.built is None:
        # The model is declared but not in the bundle, which the bill must show.
        return Component(
            name=model.name,
            type=ComponentType.MACHINE_LEARNING_MODEL,
            bom_ref=f"model:{model.name}",
            properties=_properties(facts),
        )
    built, prefix = model.built, f"{model.name}/"
    files = {path: content for path, content in manifest.files.items() if path.startswith(prefix)}
    return Component(
        name=model.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"model:{model.name}",
        version=built.origin.revision or built.space.hex,
        hashes=[_hash(model_digest(files))],
        licenses=_licenses(built.license),
        purl=_purl(built.origin),
        properties=_properties({**facts, **_facts(built), "hash-of": f"the lines of SHA256SUMS for {prefix}"}),
        components=[_file(path, content) for path, content in files.items()],
    )


def model_digest(files: Mapping[str, ContentDigest]) -> Digest:
    """Return the digest of all files of a model: the sha256 of their lines in ``SHA256SUMS``."""
    lines = "".join(f"{files[path].sha256}  {path}\n" for path in sorted(files))
    return Digest(hashlib.sha256(lines.encode()).hexdigest())


def _facts(built: BuiltModel) -> dict[str, str | None]:
    origin = built.origin
    return {
        "origin": f"{origin.kind}:{origin.id}",
        "revision": origin.revision,
        "space": built.space.hex,
        "pooling": built.pooling,
        "unit-length": "yes" if built.normalize else "no",
        "max-seq-length": None if built.max_seq_length is None else str(built.max_seq_length),
        "variants": ", ".join(variant.name for variant in built.variants),
        **{f"configured:{file.path}": "; ".join(file.reasons) for file in built.configured},
        **(
            {} if built.record is None else {f"toolchain:{name}": text for name, text in built.record.toolchain.items()}
        ),
    }


def _file(path: str, content: ContentDigest) -> Component:
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415

    return Component(
        name=path,
        type=ComponentType.FILE,
        bom_ref=f"file:{path}",
        hashes=[_hash(content.sha256)],
        properties=_properties({"size": str(content.size)}),
    )


def _hash(digest: Digest) -> HashType:
    from cyclonedx.model import HashAlgorithm, HashType  # noqa: PLC0415

    return HashType(alg=HashAlgorithm.SHA_256, content=digest.hex)


def _licenses(text: str | None) -> list[License]:
    """Return a licence in CycloneDX form: an SPDX identifier or expression if it is one, else its name as published."""
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression  # noqa: PLC0415
    from cyclonedx.spdx import is_supported_id  # noqa: PLC0415

    licence = licence_of(text)
    if licence is None:
        return []
    if licence.is_name:
        return [DisjunctiveLicense(name=licence.published)]
    # The schema has a list of its own, in which an id may be missing; an expression may contain any.
    return [DisjunctiveLicense(id=licence.spdx) if is_supported_id(licence.spdx) else LicenseExpression(licence.spdx)]


def _purl(origin: Origin) -> PackageURL | None:
    """Return the package URL of an origin, by https://github.com/package-url/purl-spec; None if it has none."""
    from packageurl import PackageURL  # noqa: PLC0415

    if origin.kind == "hub":
        owner, _, name = origin.id.rpartition("/")
        return PackageURL(type="huggingface", namespace=owner or None, name=name, version=origin.revision)
    if origin.kind == "wheel":
        name, _, version = origin.id.partition("==")
        return PackageURL(type="pypi", name=name.strip(), version=version.strip() or None)
    return None


def _properties(facts: Mapping[str, str | None]) -> Iterable[Property]:
    from cyclonedx.model import Property  # noqa: PLC0415

    return [Property(name=f"{PREFIX}:{name}", value=text) for name, text in facts.items() if text]
