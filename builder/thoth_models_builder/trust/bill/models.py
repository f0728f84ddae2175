"""Models in a bill of materials, with their files, and the pedigree of each file that is not as its origin has it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.model.contact import OrganizationalEntity

from thoth_models.bundle.digest import Digest
from thoth_models_builder.spec.licences.names import other_spdx
from thoth_models_builder.spec.variants import GRAPH_NAME
from thoth_models_builder.trust.bill.parts import (
    file_address,
    licences,
    properties,
    references,
    sha256,
    supplier_of,
)
from thoth_models_builder.trust.bill.source_facts import source_prefix
from thoth_models_builder.trust.package_urls import package_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from thoth_models.bundle.digest import ContentDigest
    from thoth_models.bundle.manifest import BuiltModel, Manifest, Model, Origin
    from thoth_models_builder.trust.bill.source_facts import SourceFacts

_WEIGHTS: Final = ".safetensors"
_EXPORT: Final = "exported by torch as one ONNX graph of all modules"
_STEPS: Final = {
    ("onnx", "fp32"): f"{_EXPORT}; weights in fp32",
    ("onnx", "int8"): (
        f"{_EXPORT}; then quantised: products of activations and weights in int8, activations with a scale for each "
        "token that is computed at run time, weights with one for each column after SmoothQuant, embedding tables "
        "with one for each row"
    ),
}
"""What makes the graph of a variant, by backend and precision (docs/decisions/0009 has the scheme of int8)."""


def model_ref(name: str) -> str:
    """Return the ``bom-ref`` of a model."""
    return f"model:{name}"


def file_ref(path: str) -> str:
    """Return the ``bom-ref`` of a file, by its path below the bundle root."""
    return f"file:{path}"


def model_digest(files: Mapping[str, ContentDigest]) -> Digest:
    """Return the digest of all files of a model: the sha256 of their lines in ``SHA256SUMS``."""
    lines = "".join(f"{files[path].sha256}  {path}\n" for path in sorted(files))
    return Digest(hashlib.sha256(lines.encode()).hexdigest())


def files_of(manifest: Manifest, model: str) -> dict[str, ContentDigest]:
    """Return the files of a model, by path below the bundle root."""
    return {path: content for path, content in manifest.files.items() if path.startswith(f"{model}/")}


def derived_files(manifest: Manifest, model: str) -> list[str]:
    """Return the files that were compiled from the source files of a model, sorted."""
    return sorted(path for path in files_of(manifest, model) if not path.startswith(source_prefix(model)))


def weights_of(manifest: Manifest, model: str) -> list[str]:
    """Return the weights among the source files of a model, sorted; none if the bundle does not have these files."""
    return sorted(path for path in manifest.files if path.startswith(source_prefix(model)) and path.endswith(_WEIGHTS))


def model_component(model: Model, manifest: Manifest, facts: SourceFacts) -> Component:
    """Return a model with its files, without its card; of one that is absent, what was declared."""
    declared: dict[str, str | None] = {
        "aliases": ", ".join(model.aliases),
        "alternates": ", ".join(alternate.model for alternate in model.alternates),
        "dimension": str(model.dimension),
        "state": "absent" if model.built is None else "present",
    }
    if model.built is None:
        return Component(
            name=model.name,
            type=ComponentType.MACHINE_LEARNING_MODEL,
            bom_ref=model_ref(model.name),
            properties=properties(declared),
        )
    built, files = model.built, files_of(manifest, model.name)
    pedigrees = dict(_pedigrees(model.name, built, files))
    supplier = supplier_of(built.origin)
    return Component(
        name=model.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=model_ref(model.name),
        version=built.origin.revision or built.space.hex,
        supplier=None if supplier is None else OrganizationalEntity(name=supplier[0], urls=[XsUri(supplier[1])]),
        publisher=None if supplier is None else supplier[0],
        hashes=[sha256(model_digest(files))],
        licenses=licences(built, facts.licence_text),
        purl=package_url(built.origin.kind, built.origin.id, built.origin.revision),
        external_references=references(built.origin),
        properties=properties({**declared, **_facts(built), "hash-of": f"the lines of SHA256SUMS for {model.name}/"}),
        components=[_file(path, content, model.name, built, pedigrees.get(path)) for path, content in files.items()],
    )


def _facts(built: BuiltModel) -> dict[str, str | None]:
    origin = built.origin
    return {
        "origin": f"{origin.kind}:{origin.id}",
        "revision": origin.revision,
        # Which licence SPDX means by what was published is the only conclusion here.
        "license-as-published": built.license if other_spdx(built.license) else None,
        "space": built.space.hex,
        "pooling": built.pooling,
        "unit-length": "yes" if built.normalize else "no",
        "max-seq-length": None if built.max_seq_length is None else str(built.max_seq_length),
        "variants": ", ".join(variant.name for variant in built.variants),
        **{f"configured:{file.path}": "; ".join(file.reasons) for file in built.configured},
    }


def _file(path: str, content: ContentDigest, model: str, built: BuiltModel, pedigree: Pedigree | None) -> Component:
    source = source_prefix(model)
    address = None
    if path.startswith(source) and pedigree is None:
        address = file_address(built.origin, path.removeprefix(source))
    return Component(
        name=path,
        type=ComponentType.FILE,
        bom_ref=file_ref(path),
        hashes=[sha256(content.sha256)],
        properties=properties({"size": str(content.size)}),
        pedigree=pedigree,
        external_references=[]
        if address is None
        else [ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(address))],
    )


def _pedigrees(model: str, built: BuiltModel, files: Mapping[str, ContentDigest]) -> Iterator[tuple[str, Pedigree]]:
    """Yield the pedigree of each file that was changed, converted or compiled, by path below the bundle root."""
    source = source_prefix(model)
    for file in built.configured:
        if (path := f"{source}{file.path}") in files:
            before = [] if file.origin is None else [_ancestor(file.path, file.origin, built.origin)]
            what = "changed" if before else "added"
            yield path, Pedigree(ancestors=before, notes=f"{what} by the builder: {'; '.join(file.reasons)}")
    if built.record is None:
        return
    for name, made_from in built.record.converted.items():
        if (path := f"{source}{name}") in files:
            pickles = [
                _ancestor(pickle, _digest(digest), built.origin)
                for pickle, digest in sorted(made_from.items())
                if pickle != name
            ]
            yield path, Pedigree(ancestors=pickles, notes="converted from pickles in the sandbox, tensor by tensor")
    of_variant = {path: variant for variant in built.variants for path in variant.files}
    tools = ", ".join(f"{name} {version}" for name, version in sorted(built.record.toolchain.items()))
    for path in files:
        if path.startswith(source):
            continue
        variant = of_variant.get(path)
        is_graph = path.rpartition("/")[2].startswith(GRAPH_NAME)
        wanted = [
            one
            for one in sorted(files)
            if one.startswith(source) and (path == built.record.golden or one.endswith(_WEIGHTS) == is_graph)
        ]
        if path == built.record.golden:
            what = "vectors of golden texts, computed by sentence-transformers in fp32"
        elif is_graph and variant is not None:
            what = _STEPS.get((variant.backend, variant.precision), f"compiled as the variant {variant.name}")
        else:
            what = "written from the configuration and the tokenizer of the source files"
        yield (
            path,
            Pedigree(
                ancestors=[_in_bundle(one, files[one]) for one in wanted] or [_origin(built.origin)],
                notes=f"{what}. Toolchain: {tools}",
            ),
        )


def _in_bundle(path: str, content: ContentDigest) -> Component:
    return Component(name=path, type=ComponentType.FILE, hashes=[sha256(content.sha256)])


def _digest(text: str) -> Digest | None:
    """Return a digest of a build record, whose form a manifest does not guarantee."""
    try:
        return Digest(text)
    except ValueError:
        return None


def _ancestor(path: str, digest: Digest | None, origin: Origin) -> Component:
    """Return a file that the origin has, and the bundle has not."""
    address = file_address(origin, path)
    reference = ExternalReferenceType.DISTRIBUTION
    return Component(
        name=path,
        type=ComponentType.FILE,
        hashes=[] if digest is None else [sha256(digest)],
        external_references=[] if address is None else [ExternalReference(type=reference, url=XsUri(address))],
    )


def _origin(origin: Origin) -> Component:
    """Return the origin as a whole, for a bundle without the source files."""
    return Component(
        name=origin.id,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        version=origin.revision,
        purl=package_url(origin.kind, origin.id, origin.revision),
        external_references=references(origin),
    )
