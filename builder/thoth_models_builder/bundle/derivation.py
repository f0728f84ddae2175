"""What compiling a model follows from and leads to: the key that two equal compilations share, and their result.

Pure but for :func:`toolchain`, which asks which versions are installed, and :func:`recipe`, which reads the code of the
compile room. The result of a compilation is kept as the manifest of a bundle with this one model; the same function
reads it back from there and from a bundle that was built before.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import thoth_models
from thoth_models.canonical import canonical_json
from thoth_models.digest import Digest
from thoth_models_builder.errors import AccuracyError, CompilerUnavailableError
from thoth_models_builder.variants import SOURCE_DIRECTORY, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from thoth_models.accuracy import Accuracy
    from thoth_models.digest import ContentDigest
    from thoth_models.manifest import Manifest
    from thoth_models_builder.spec import Int8Floor

_REFERENCE_LIBRARIES: Final = ("numpy", "sentence-transformers", "tokenizers", "torch", "transformers")
_GRAPH_LIBRARIES: Final = ("onnx", "onnx-ir", "onnxruntime", "onnxscript")

FP32_COSINE: Final = 0.99999
"""What every golden text must reach in fp32. Two machines differ by some 1e-6; another pooling by more than 1e-2."""

_OTHER_PROCESSORS: Final = 0.005
"""What a quantised variant may lose on another machine; between AVX2 and VNNI it was 0.0004 (docs/decisions/0009)."""

# Beside the compile room, what decides the golden texts and the figures, and the code that is measured.
_ALSO_DECIDE: Final = ("describe.py", "variants.py")
_RUNTIME_DECIDES: Final = ("accuracy.py", "agreement.py", "golden.py", "backends/batching.py", "backends/onnx.py")


@dataclass(frozen=True, kw_only=True, slots=True)
class Derived:
    """What was made of a model's source files.

    Attributes:
        files: Content of each file that was made, by path in the model's directory.
        golden: Which of them holds the golden vectors.
        accuracy: What was measured, by variant; those that could be made.
        omitted: Why a variant could not be made, by variant.
        derivation: Identity of all that this follows from.
        toolchain: Version of each library that took part, by name.
    """

    files: Mapping[str, ContentDigest]
    golden: str
    accuracy: Mapping[str, Accuracy]
    omitted: Mapping[str, str]
    derivation: Digest
    toolchain: Mapping[str, str]


def toolchain(variants: Collection[str]) -> dict[str, str]:
    """Return the versions of all that decides which bytes a compilation of ``variants`` gives, by name.

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
    return {**known, "machine": platform.machine(), "python": python, "recipe": recipe().short}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def recipe() -> Digest:
    """Return the digest of the code that compiles: a change there makes other files, or at least may."""
    builder, runtime = Path(__file__).parent, Path(thoth_models.__file__).parent
    paths = [
        *builder.glob("compile/*.py"),
        *(builder / name for name in _ALSO_DECIDE),
        *(runtime / name for name in _RUNTIME_DECIDES),
    ]
    names = {f"{path.parent.name}/{path.name}": Digest.of(path.read_bytes()).hex for path in paths}
    return Digest.of(canonical_json(names))


def derivation_key(
    source: Mapping[str, ContentDigest], variants: Collection[str], toolchain: Mapping[str, str]
) -> Digest:
    """Return the identity of a compilation: equal where the result must be.

    Args:
        source: Content of each source file, by path in the model's source directory.
        variants: Names of the variants to make, in any order.
        toolchain: Versions, from :func:`toolchain`.
    """
    return Digest.of(
        canonical_json(
            {
                "source": {path: content.sha256.hex for path, content in source.items()},
                "toolchain": dict(toolchain),
                "variants": sorted(variants),
            }
        )
    )


def derived_from(manifest: Manifest, name: str, key: Digest) -> Derived | None:
    """Return what a bundle holds of a compilation, or None if it holds nothing of one with that key."""
    model = manifest.models.get(name)
    built = None if model is None else model.built
    if built is None or built.proof is None or built.proof.derivation != key:
        return None
    made = {variant.name: variant.accuracy for variant in built.variants}
    if None in made.values() or not made.keys() <= VARIANTS.keys():
        return None  # a record that somebody has changed
    prefix, source = f"{name}/", f"{name}/{SOURCE_DIRECTORY}/"
    return Derived(
        files={
            path.removeprefix(prefix): content
            for path, content in manifest.files.items()
            if path.startswith(prefix) and not path.startswith(source)
        },
        golden=built.proof.golden.removeprefix(prefix),
        accuracy={variant: accuracy for variant, accuracy in made.items() if accuracy is not None},
        omitted=built.proof.omitted,
        derivation=key,
        toolchain=built.proof.toolchain,
    )


def gated(name: str, derived: Derived, floor: Int8Floor) -> Derived:
    """Return ``derived`` with what each variant has to reach, once it was found to reach it.

    Raises:
        AccuracyError: A variant is not as close to its reference as it must be; the message has every figure.
    """
    misses: list[str] = []
    accuracy: dict[str, Accuracy] = {}
    for variant, measured in derived.accuracy.items():
        is_rounded = VARIANTS[variant].precision == "int8"
        cosine = floor.minimum_cosine if is_rounded else FP32_COSINE
        if measured.minimum_cosine < cosine:
            misses.append(f"{variant}: expected a minimum cosine of {cosine}, found {measured.minimum_cosine}")
        if is_rounded and measured.neighbour_agreement < floor.neighbour_agreement:
            misses.append(
                f"{variant}: expected a neighbour agreement of {floor.neighbour_agreement}, "
                f"found {measured.neighbour_agreement}"
            )
        # What loading asks for is what this model reached, not the least that some model may: a drift is smaller.
        reached = round(measured.minimum_cosine - _OTHER_PROCESSORS, 5)
        accuracy[variant] = replace(measured, required_cosine=max(cosine, reached) if is_rounded else cosine)
    if misses:
        raise AccuracyError(f"{name}: not close enough to sentence-transformers in fp32: {'; '.join(misses)}")
    return replace(derived, accuracy=accuracy)
