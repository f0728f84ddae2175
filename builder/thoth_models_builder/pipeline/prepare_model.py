"""Gathering what one model of a bundle is made of: its source files, what they say, and what is derived from them.

Everything is taken from where it already is: the bundle that was there, the store, then the sources and the compiler.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from thoth_models.digest import ContentDigest
from thoth_models_builder import assemble
from thoth_models_builder.compiling import compile_model, find_compiled
from thoth_models_builder.derivation import derivation_key, derived_from, gated, toolchain
from thoth_models_builder.describe import ModelFacts, ModelFiles, describe, space_of
from thoth_models_builder.errors import LockError, UnsupportedModelError
from thoth_models_builder.plan import held_contents, source_path
from thoth_models_builder.variants import SOURCE_DIRECTORY, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from thoth_models.verify import VerificationReport
    from thoth_models_builder.derivation import Derived
    from thoth_models_builder.obtain import Supply
    from thoth_models_builder.plan import PlannedModel

_IN_BUNDLE = "the bundle that was there"
_IN_STORE = "store"
_COMPILED = "compiled"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """A model that is present.

    Attributes:
        ingredients: What it is made of.
        places: Where the bytes of each file lie, by path in the model's directory.
        origins: Where each of them came from in this build, likewise.
        compile_seconds: Time spent compiling.
    """

    ingredients: assemble.Ingredients
    places: Mapping[str, Path]
    origins: Mapping[str, str]
    compile_seconds: float


def gather(
    model: PlannedModel, previous: VerificationReport | None, supply: Supply, *, compile_deadline: float
) -> Gathered | None:
    """Gather a model; None if its sources did not deliver all of its files.

    Args:
        model: As specified and locked.
        previous: An intact bundle that is already there, or None.
        supply: Store and sources.
        compile_deadline: Seconds for each step of a compilation.

    Raises:
        UnsupportedModelError: The files are not what a bundle can hold.
        LockError: The files say another dimension than the lock.
        CompilerUnavailableError, CompileError: A variant cannot be made here.
        AccuracyError: A variant is not close enough to the reference.
    """
    if (kept := _kept(model, previous)) is not None:
        return kept
    source = _source(model, previous, supply)
    if source is None:
        return None
    digests = {path: content.sha256 for path, content in source.contents.items()}
    files = ModelFiles(digests, lambda path: source.places[path].read_bytes())
    facts = _facts(model, files)
    started = time.monotonic()
    derived, derived_places, derived_origin = _derive(
        model, source, facts, previous=previous, supply=supply, deadline=compile_deadline
    )
    return Gathered(
        ingredients=assemble.Ingredients(
            model=model,
            contents=source.contents,
            facts=facts,
            space=space_of(files, facts, normalize=model.spec.normalize),
            derived=derived,
        ),
        places={**{f"{SOURCE_DIRECTORY}/{path}": place for path, place in source.places.items()}, **derived_places},
        origins={
            **{f"{SOURCE_DIRECTORY}/{path}": origin for path, origin in source.origins.items()},
            **dict.fromkeys(derived_places, derived_origin),
        },
        compile_seconds=time.monotonic() - started if derived_origin == _COMPILED else 0.0,
    )


def _kept(model: PlannedModel, previous: VerificationReport | None) -> Gathered | None:
    """Take a model whose source files the bundle does not ship from the one that was there, without asking for them."""
    before = None if previous is None else previous.manifest.models.get(model.name)
    if previous is None or before is None or before.built is None or not model.spec.golden:
        return None
    built = before.built
    contents = {file.path: ContentDigest(size=file.size, sha256=file.sha256) for file in model.locked.files}
    key = derivation_key(contents, model.spec.variants, toolchain(model.spec.variants))
    derived = derived_from(previous.manifest, model.name, key)
    # The same source files and the same builder, so all that they say is what it was.
    is_same = before.dimension == model.locked.dimension and built.normalize == model.spec.normalize
    if derived is None or not is_same or any(not VARIANTS[name].is_compiled for name in derived.accuracy):
        return None
    facts = ModelFacts(
        dimension=before.dimension,
        max_seq_length=built.max_seq_length,
        pooling=built.pooling,
        has_normalize=built.normalize,
        similarity=built.similarity,
        prompts=built.prompts,
        default_prompt_name=built.default_prompt_name,
    )
    return Gathered(
        ingredients=assemble.Ingredients(
            model=model,
            contents=contents,
            facts=facts,
            space=built.space,
            derived=gated(model.name, derived, model.spec.int8_floor),
        ),
        places={path: previous.root / model.name / path for path in derived.files},
        origins=dict.fromkeys(derived.files, _IN_BUNDLE),
        compile_seconds=0.0,
    )


class _Source(NamedTuple):
    """Content, place and origin of each source file, by path in the source directory."""

    contents: Mapping[str, ContentDigest]
    places: Mapping[str, Path]
    origins: Mapping[str, str]


def _source(model: PlannedModel, previous: VerificationReport | None, supply: Supply) -> _Source | None:
    held = held_contents(model, previous.manifest if previous is not None else None)
    if previous is not None and held is not None:
        root = previous.root
        places = {path: root / source_path(model.name, path) for path in held}
        return _Source(held, places, dict.fromkeys(held, _IN_BUNDLE))
    # A model that the bundle already goes without is asked for once, so that nothing to do stays quick.
    before = None if previous is None else previous.manifest.models.get(model.name)
    was_absent = before is not None and before.built is None
    limits = replace(supply.limits, attempts=1) if was_absent else None
    contents, origins = supply.obtain(model, limits)
    if len(contents) < len(model.locked.files):
        return None
    places = {path: supply.store.path(content.sha256) for path, content in contents.items()}
    return _Source(contents, places, origins)


def _facts(model: PlannedModel, files: ModelFiles) -> ModelFacts:
    try:
        facts = describe(files)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{model.name}: {error}") from error
    if facts.dimension != model.locked.dimension:
        raise LockError(
            f"{model.name}: dimension: expected {model.locked.dimension}, as locked, found {facts.dimension}"
        )
    return facts


def _derive(  # noqa: PLR0913 - a step of gather, with what that has found out so far
    model: PlannedModel,
    source: _Source,
    facts: ModelFacts,
    *,
    previous: VerificationReport | None,
    supply: Supply,
    deadline: float,
) -> tuple[Derived | None, dict[str, Path], str]:
    """Return what is made of the source files, where it lies, and where it came from."""
    if not model.spec.golden:
        return None, {}, _IN_STORE
    versions = toolchain(model.spec.variants)
    key = derivation_key(source.contents, model.spec.variants, versions)
    store = supply.store
    origin = _IN_BUNDLE
    derived = None if previous is None else derived_from(previous.manifest, model.name, key)
    if derived is None:
        origin, derived = _IN_STORE, find_compiled(store, key)
    if derived is None:
        origin = _COMPILED
        supply.watcher.note(f"{model.name}: compiling and measuring {', '.join(model.spec.variants)}")
        derived = compile_model(
            source.contents,
            source.places,
            facts,
            model.spec.variants,
            key=key,
            toolchain=versions,
            store=store,
            deadline=deadline,
        )
    if previous is not None and origin == _IN_BUNDLE:
        derived_places = {path: previous.root / model.name / path for path in derived.files}
    else:
        derived_places = {path: store.path(content.sha256) for path, content in derived.files.items()}
    return gated(model.name, derived, model.spec.int8_floor), derived_places, origin
