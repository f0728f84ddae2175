"""A temporary bundle of one variant, which the runtime loads to measure it as a service would use it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from thoth_models.bundle.digest import Digest, hash_file
from thoth_models.bundle.golden import GOLDEN_NAME
from thoth_models.bundle.manifest import (
    CHECKSUMS_NAME,
    MANIFEST_NAME,
    BuildRecord,
    BuiltModel,
    Manifest,
    Model,
    Origin,
    Variant,
)
from thoth_models.bundle.space import possible_spaces
from thoth_models.loading.load import load_embedding
from thoth_models_builder.spec.compile_job import MODEL_DIRECTORY
from thoth_models_builder.spec.variants import SOURCE_DIRECTORY, VARIANTS
from thoth_models_builder.storage.files import link_or_copy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from thoth_models import Embedding
    from thoth_models_builder.spec.compile_job import CompileJob

_LOAD_SECONDS: Final = 600.0
"""Time limit for loading a variant; the builder's own deadline is shorter."""


def load_variant(job: CompileJob, model: Path, variant: str, root: Path) -> Embedding:
    """Load a variant from a bundle that contains only that variant.

    Args:
        job: The job.
        model: Directory with the files of the model.
        variant: Name of the variant.
        root: Directory for the bundle; its files are hard links to those in ``model``.
    """
    kind = VARIANTS[variant]
    files = {}
    paths = [path for path in sorted((model / kind.directory).rglob("*")) if path.is_file()]
    for path in [*paths, model / GOLDEN_NAME]:
        relative = path.relative_to(model)
        name = f"{MODEL_DIRECTORY}/{relative}"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(path, root / name)
        if relative.parts[0] == SOURCE_DIRECTORY:
            files[name] = job.source[str(relative.relative_to(SOURCE_DIRECTORY))]
        else:
            with path.open("rb") as file:
                files[name] = hash_file(file)
    golden = f"{MODEL_DIRECTORY}/{GOLDEN_NAME}"
    nothing = Digest.of(b"")
    built = BuiltModel(
        # These do not affect the measurement.
        origin=Origin(kind="directory", id=SOURCE_DIRECTORY, revision=None),
        license=None,
        space=nothing,
        record=BuildRecord(golden=golden, derivation=nothing, toolchain={}, omitted={}),
        normalize=False,
        max_seq_length=job.max_seq_length,
        pooling=job.pooling,
        similarity=job.similarity,
        prompts=job.prompts,
        default_prompt_name=job.default_prompt_name,
        variants=(
            Variant(
                name=variant,
                backend=kind.backend,
                precision=kind.precision,
                directory=f"{MODEL_DIRECTORY}/{kind.directory}",
                files=tuple(sorted(name for name in files if name != golden)),
            ),
        ),
    )
    if not kind.is_compiled:
        built = replace(built, space=_space_of(job, built, model / SOURCE_DIRECTORY, paths))
    described = Model(name=MODEL_DIRECTORY, aliases=(), alternates=(), dimension=job.dimension, built=built)
    manifest = Manifest(name="compile", default=MODEL_DIRECTORY, models={MODEL_DIRECTORY: described}, files=files)
    (root / MANIFEST_NAME).write_bytes(manifest.to_bytes())
    (root / CHECKSUMS_NAME).write_bytes(manifest.checksums())
    return load_embedding(root=root, variants=[variant], timeout=_LOAD_SECONDS)


def _space_of(job: CompileJob, built: BuiltModel, source: Path, paths: Iterable[Path]) -> Digest:
    """Return the space of the source files, which the runtime compares with that of the manifest."""
    names = [str(path.relative_to(source)) for path in paths]
    digests = {name: job.source[name].sha256 for name in names}
    return next(
        possible_spaces(digests, lambda name, _kind: json.loads((source / name).read_bytes()), built, job.dimension)
    )
