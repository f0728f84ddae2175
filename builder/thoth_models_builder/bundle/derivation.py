"""The cache key and the result of compiling a model.

Pure, except for :func:`toolchain`, which reads installed versions and the sources of the compiler. The store has a
record of each compilation with the measured figures. An existing bundle only says which gates its compiled variants
passed.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass, field, replace
from importlib import metadata
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self

from thoth_models.bundle.accuracy import Accuracy, Gate
from thoth_models.bundle.canonical_json import canonical_json, parse_json, safe_path
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models_builder.bundle.compiler_sources import sources_digest
from thoth_models_builder.errors import AccuracyError, CompilerUnavailableError
from thoth_models_builder.spec.variants import SOURCE_DIRECTORY, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from thoth_models.bundle.manifest import Manifest
    from thoth_models_builder.spec.models_yaml import Int8Floor

_REFERENCE_LIBRARIES: Final = ("numpy", "sentence-transformers", "sentencepiece", "tokenizers", "torch", "transformers")
_GRAPH_LIBRARIES: Final = ("onnx", "onnx-ir", "onnxruntime", "onnxscript", "protobuf")

FP32_COSINE: Final = 0.99999
"""Cosine that every golden text must reach in fp32. Machines differ by some 1e-6, a wrong pooling by more than 1e-2."""

_RECORD_VERSION: Final = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Derived:
    """The result of compiling a model.

    Attributes:
        files: Content of each compiled file, by path in the model's directory.
        golden: Path of the golden vectors among them.
        variants: Names of the variants that could be compiled.
        omitted: By variant, the reason why it could not be compiled.
        derivation: Cache key of the compilation.
        toolchain: Version of each library that took part, by name.
        accuracy: Measured figures by variant; empty if they are not known any more, because only a bundle is left.
        gates: The gate that each variant passed; empty before :func:`gated`.
    """

    files: Mapping[str, ContentDigest]
    golden: str
    variants: tuple[str, ...]
    omitted: Mapping[str, str]
    derivation: Digest
    toolchain: Mapping[str, str]
    accuracy: Mapping[str, Accuracy] = field(default_factory=dict)
    gates: Mapping[str, Gate] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the record for the store, without gates, which depend on the specification."""
        return canonical_json(
            {
                "version": _RECORD_VERSION,
                "files": {path: content.to_document() for path, content in self.files.items()},
                "golden": self.golden,
                "variants": list(self.variants),
                "omitted": dict(self.omitted),
                "derivation": self.derivation.hex,
                "toolchain": dict(self.toolchain),
                "accuracy": {name: accuracy.to_document() for name, accuracy in self.accuracy.items()},
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the record of a compilation.

        Raises:
            FormatError: The record does not have the form that this release reads.
        """
        keys = parse_json(data).members(
            "version", "files", "golden", "variants", "omitted", "derivation", "toolchain", "accuracy"
        )
        keys["version"].one_of(_RECORD_VERSION)
        variants = tuple(item.one_of(*VARIANTS) for item in keys["variants"].items())
        accuracy = {node.key: Accuracy.from_node(node) for node in keys["accuracy"].mapping()}
        if accuracy.keys() != set(variants):
            raise keys["accuracy"].wrong("what was measured of each variant")
        return cls(
            files={safe_path(node.key_node()): ContentDigest.from_node(node) for node in keys["files"].mapping()},
            golden=safe_path(keys["golden"]),
            variants=variants,
            omitted=keys["omitted"].texts(),
            derivation=keys["derivation"].digest(),
            toolchain=keys["toolchain"].texts(),
            accuracy=accuracy,
        )


def toolchain(variants: Collection[str]) -> dict[str, str]:
    """Return the versions of everything that decides the bytes of compiled ``variants``, by name.

    Raises:
        CompilerUnavailableError: A library is not installed; the message names each.
    """
    is_compiled = any(VARIANTS[variant].is_compiled for variant in variants)
    libraries = (*_REFERENCE_LIBRARIES, *(_GRAPH_LIBRARIES if is_compiled else ()))
    versions = {name: _version(name) for name in libraries}
    if missing := [name for name, version in versions.items() if version is None]:
        raise CompilerUnavailableError(f"expected the libraries that compile models, found no {', '.join(missing)}")
    known = {name: version for name, version in versions.items() if version is not None}
    python = ".".join(map(str, sys.version_info[:2]))
    return {**known, "machine": platform.machine(), "python": python, "compiler": sources_digest().short}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def cache_key(
    source: Mapping[str, ContentDigest],
    variants: Collection[str],
    toolchain: Mapping[str, str],
    settings: Mapping[str, object] = MappingProxyType({}),
) -> Digest:
    """Return the cache key of a compilation: equal keys have equal results.

    What is compiled are the locked files as the settings change them. Both are in the key, and not the changed files,
    so that a build with nothing to do needs to read none of them; how settings change files is decided by sources that
    ``toolchain`` has the digest of.

    Args:
        source: Content of each locked file, by path in the model's source directory.
        variants: Names of the variants to compile, in any order.
        toolchain: Versions, from :func:`toolchain`.
        settings: What of models.yaml changes what the files say, from ``configure.settings_of``.
    """
    return Digest.of(
        canonical_json(
            {
                "source": {path: content.sha256.hex for path, content in source.items()},
                "toolchain": dict(toolchain),
                "variants": sorted(variants),
                "settings": dict(settings),
            }
        )
    )


def derived_from(manifest: Manifest, name: str, key: Digest) -> Derived | None:
    """Return the compilation with that cache key from a bundle, or None if the bundle does not have it.

    A bundle does not have measured figures, so the result has only gates.
    """
    model = manifest.models.get(name)
    built = None if model is None else model.built
    if built is None or built.record is None or built.record.derivation != key:
        return None
    gates = {variant.name: variant.gate for variant in built.variants}
    if None in gates.values() or not gates.keys() <= VARIANTS.keys():
        return None  # the manifest was changed by hand
    prefix, source = f"{name}/", f"{name}/{SOURCE_DIRECTORY}/"
    return Derived(
        files={
            path.removeprefix(prefix): content
            for path, content in manifest.files.items()
            if path.startswith(prefix) and not path.startswith(source)
        },
        golden=built.record.golden.removeprefix(prefix),
        variants=tuple(gates),
        omitted=built.record.omitted,
        derivation=key,
        toolchain=built.record.toolchain,
        gates={variant: gate for variant, gate in gates.items() if gate is not None},
    )


def with_figures(derived: Derived, record: Derived | None) -> Derived:
    """Return ``derived`` with the figures from the record of the same compilation, if it has the same files."""
    if record is None or record.files != derived.files or set(record.variants) != set(derived.variants):
        return derived
    return replace(derived, accuracy=record.accuracy)


def gate_for(variant: str, floor: Int8Floor) -> Gate:
    """Return the gate of a variant. It depends on the specification alone, not on measured figures."""
    if VARIANTS[variant].precision == "int8":
        return Gate.of(floor.minimum_cosine, floor.neighbour_agreement)
    return Gate.of(FP32_COSINE)


def is_decided(derived: Derived, floor: Int8Floor) -> bool:
    """Return whether each variant is known to pass or fail: from its figures, or because it passed the same gate."""
    return all(
        name in derived.accuracy or derived.gates.get(name) == gate_for(name, floor) for name in derived.variants
    )


def gated(name: str, derived: Derived, floor: Int8Floor) -> Derived:
    """Return ``derived`` with the gates that its variants passed; requires :func:`is_decided`.

    Raises:
        AccuracyError: A variant does not pass its gate; the message has every figure.
    """
    gates = {variant: gate_for(variant, floor) for variant in derived.variants}
    misses = [
        f"{variant}: {miss}"
        for variant, gate in gates.items()
        if variant in derived.accuracy
        for miss in gate.misses(derived.accuracy[variant])
    ]
    if misses:
        raise AccuracyError(f"{name}: not close enough to sentence-transformers in fp32: {'; '.join(misses)}")
    return replace(derived, gates=gates)
