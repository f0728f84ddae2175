"""Collect the inputs for one model of a bundle: its source files, the facts in them, and the compiled files.

Files are taken from the previous bundle or the store if they have them, otherwise from the sources and the compiler.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.digest import ContentDigest
from thoth_models_builder.bundle.compile_job import compile_job
from thoth_models_builder.bundle.compose_manifest import ModelInputs
from thoth_models_builder.bundle.configure import configure, has_unit_length, settings_of
from thoth_models_builder.bundle.derivation import (
    Derived,
    cache_key,
    derived_from,
    gated,
    is_decided,
    toolchain,
    with_figures,
)
from thoth_models_builder.bundle.describe import ModelFacts, describe, read_modules
from thoth_models_builder.bundle.model_files import ModelFiles
from thoth_models_builder.bundle.published.tokenizers import refuse_without_tokenizer
from thoth_models_builder.bundle.space_of import space_of
from thoth_models_builder.errors import CompilerUnavailableError, LockError, StoreError, UnsupportedModelError
from thoth_models_builder.pipeline.reviewed.code import code_contents, code_of_job, described
from thoth_models_builder.pipeline.reviewed.pickles import convert_again
from thoth_models_builder.spec.plan import held_contents, source_path
from thoth_models_builder.spec.variants import SOURCE_DIRECTORY, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from thoth_models.bundle.digest import Digest
    from thoth_models.bundle.model import BuiltModel, ConfiguredFile
    from thoth_models.verification.verify import VerificationReport
    from thoth_models_builder.bundle.configure import Configuration
    from thoth_models_builder.pipeline.compiler_process import Compiler
    from thoth_models_builder.pipeline.fetch import FetchContext
    from thoth_models_builder.spec.plan import PlannedModel
    from thoth_models_builder.storage.store import Store

_IN_BUNDLE = "the bundle that was there"
_IN_STORE = "store"
_COMPILED = "compiled"
_CONFIGURED = "configured"
_CONVERTED = "converted from pickles"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """A model that is not absent.

    Attributes:
        inputs: The inputs for the manifest.
        places: File with the bytes of each file, by path in the model's directory.
        origins: Where each file came from in this build, by the same paths.
    """

    inputs: ModelInputs
    places: Mapping[str, Path]
    origins: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiling:
    """A model whose source files are complete, and which is being compiled.

    Attributes:
        model: The model as specified and locked.
        source: Its source files as they are shipped.
        facts: Facts about the model from these files.
        space: Identity of its embedding space.
        configured: Source files that differ from those of the origin.
    """

    model: PlannedModel
    source: _Source
    facts: ModelFacts
    space: Digest
    configured: tuple[ConfiguredFile, ...]

    def gathered(self, derived: Derived, store: Store) -> Gathered:
        """Return the model with its compiled files, which are in ``store``.

        Raises:
            AccuracyError: A variant is not close enough to the reference.
        """
        places = {path: store.path(content.sha256) for path, content in derived.files.items()}
        return _gathered(self, gated(self.model.name, derived, self.model.spec.int8_floor), places, _COMPILED)


def is_compiled_now(model: PlannedModel, previous: VerificationReport | None, store: Store) -> bool:
    """Return whether a model probably has to be compiled, because neither the bundle nor the store has it.

    False if the bundle already lacks the model, or if libraries are missing, because then a compilation is unlikely.
    """
    before = None if previous is None else previous.manifest.models.get(model.name)
    if not model.spec.golden or (before is not None and before.built is None):
        return False
    try:
        key = _key(model, toolchain(model.spec.variants))
    except CompilerUnavailableError:
        return False
    held = None if previous is None else _held(model, previous, key, store)
    return held is None and read_compilation(store, key) is None


def gather(
    model: PlannedModel, previous: VerificationReport | None, context: FetchContext, compiler: Compiler
) -> Gathered | Compiling | None:
    """Collect the inputs of a model; return None if its sources did not deliver all of its files.

    If the model has to be compiled, the job is sent to ``compiler``, without waiting for it.

    Args:
        model: The model as specified and locked.
        previous: The previous bundle if it is intact, or None.
        context: Store and sources.
        compiler: The compiler of this build.

    Raises:
        UnsupportedModelError: A bundle cannot contain the files.
        LockError: The dimension in the files differs from the one in the lock.
        CompilerUnavailableError: A variant cannot be compiled on this machine.
        AccuracyError: A variant is not close enough to the reference.
    """
    if (kept := _kept(model, previous, context.store)) is not None:
        return kept
    source = _source(model, previous, context)
    if source is None:
        return None
    try:
        published = _origin_files(source)
        configuration = configure(described(published, model.locked), model.spec)
        facts = describe(configuration.files)
        first = read_modules(configuration.files)[0]
        # Also for a lock of a release that chose other files: without a tokenizer, all texts have one vector.
        is_static = first.kind == "StaticEmbedding"
        refuse_without_tokenizer(source.contents, first.directory, configuration.files, is_static=is_static)
    except UnsupportedModelError as error:
        raise type(error)(f"{model.name}: {error}") from error
    _check_dimension(model, facts)
    source = _configured(model, source, configuration, previous, context.store)
    space = space_of(configuration.files, facts, normalize=has_unit_length(model.spec, facts))
    part = Compiling(model=model, source=source, facts=facts, space=space, configured=configuration.configured)
    if not model.spec.golden:
        return _gathered(part, None, {}, _IN_STORE)
    versions = toolchain(model.spec.variants)
    key = _key(model, versions)
    floor = model.spec.int8_floor
    if previous is not None and (derived := _held(model, previous, key, context.store)) is not None:
        places = {path: previous.root / model.name / path for path in derived.files}
        return _gathered(part, gated(model.name, derived, floor), places, _IN_BUNDLE)
    if (derived := find_compiled(context.store, key)) is not None:
        places = {path: context.store.path(content.sha256) for path, content in derived.files.items()}
        return _gathered(part, gated(model.name, derived, floor), places, _IN_STORE)
    own = code_of_job(model, published, configuration.files, context)
    if own is not None:
        job = compile_job(facts, {**source.contents, **own.contents}, model.spec.variants, own.code)
        sandbox = f", running {len(own.code)} Python files of the model in the sandbox" if own.code else ""
        context.watcher.note(f"{model.name}: compiling and measuring {', '.join(model.spec.variants)}{sandbox}")
        compiler.submit(model.name, job, {**source.places, **own.places}, key=key, toolchain=versions)
    return None if own is None else part


def _gathered(part: Compiling, derived: Derived | None, places: Mapping[str, Path], origin: str) -> Gathered:
    source = part.source
    return Gathered(
        inputs=ModelInputs(
            model=part.model,
            contents=source.contents,
            facts=part.facts,
            space=part.space,
            derived=derived,
            configured=part.configured,
        ),
        places={**{f"{SOURCE_DIRECTORY}/{path}": place for path, place in source.places.items()}, **places},
        origins={
            **{f"{SOURCE_DIRECTORY}/{path}": origin for path, origin in source.origins.items()},
            **dict.fromkeys(places, origin),
        },
    )


def _kept(model: PlannedModel, previous: VerificationReport | None, store: Store) -> Gathered | None:
    """Take a model from the previous bundle if that lacks locked files, without fetching them.

    Bundles without ``torch-fp32`` have no source files, and the others have configured ones in place of the origin's.
    """
    before = None if previous is None else previous.manifest.models.get(model.name)
    if previous is None or before is None or before.built is None or not model.spec.golden:
        return None
    built = before.built
    derived = _held(model, previous, _key(model, toolchain(model.spec.variants)), store)
    if derived is None:
        return None
    contents: Mapping[str, ContentDigest] = _locked_contents(model)
    places = {path: previous.root / model.name / path for path in derived.files}
    if any(not VARIANTS[name].is_compiled for name in derived.variants):
        if not built.configured or held_contents(model, previous.manifest) is None:
            return None
        prefix = source_path(model.name, "")
        contents = {
            path.removeprefix(prefix): content
            for path, content in previous.manifest.files.items()
            if path.startswith(prefix)
        }
        places |= {f"{SOURCE_DIRECTORY}/{path}": previous.root / source_path(model.name, path) for path in contents}
    # The same source files, keys and builder, so the facts are the same.
    if before.dimension != model.locked.dimension or not _normalizes_the_same(model, built, store):
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
        inputs=ModelInputs(
            model=model,
            contents=contents,
            facts=facts,
            space=built.space,
            derived=gated(model.name, derived, model.spec.int8_floor),
            configured=built.configured,
        ),
        places=places,
        origins=dict.fromkeys(places, _IN_BUNDLE),
    )


def _normalizes_the_same(model: PlannedModel, built: BuiltModel, store: Store) -> bool:
    """Return whether the specification says the same about unit length as a bundle; False if that is not known."""
    if model.spec.normalize != "auto":
        return built.normalize == model.spec.normalize
    if built.similarity == "cosine":
        return built.normalize
    # What the model itself does is not in the manifest, but in small files.
    digests = {file.path: file.sha256 for file in model.locked.files}
    try:
        published = ModelFiles(
            digests,
            lambda path: store.read(digests[path]),
            lambda path, size: store.read_beginning(digests[path], size),
        )
        facts = describe(configure(described(published, model.locked), model.spec).files)
    except (StoreError, UnsupportedModelError):
        return False
    return built.normalize == has_unit_length(model.spec, facts)


def _key(model: PlannedModel, versions: Mapping[str, str]) -> Digest:
    contents = {**_locked_contents(model), **code_contents(model.locked)}
    return cache_key(contents, model.spec.variants, versions, settings_of(model.spec))


def _locked_contents(model: PlannedModel) -> dict[str, ContentDigest]:
    return {file.path: ContentDigest(size=file.size, sha256=file.sha256) for file in model.locked.files}


def _held(model: PlannedModel, previous: VerificationReport, key: Digest, store: Store) -> Derived | None:
    """Return what the bundle holds of a compilation; None where that is nothing, or whether it passes is not known."""
    derived = derived_from(previous.manifest, model.name, key)
    if derived is None:
        return None
    derived = with_figures(derived, read_compilation(store, key))
    return derived if is_decided(derived, model.spec.int8_floor) else None


class _Source(NamedTuple):
    """Content, place and origin of each source file, by path in the source directory."""

    contents: Mapping[str, ContentDigest]
    places: Mapping[str, Path]
    origins: Mapping[str, str]


def _source(model: PlannedModel, previous: VerificationReport | None, context: FetchContext) -> _Source | None:
    """Return the locked files, from the previous bundle as far as it has them; None if some cannot be fetched."""
    held = {} if previous is None else held_contents(model, previous.manifest) or {}
    missing = tuple(file for file in model.locked.files if file.path not in held)
    places = {} if previous is None else {path: previous.root / source_path(model.name, path) for path in held}
    in_bundle = _Source(held, places, dict.fromkeys(held, _IN_BUNDLE))
    if not missing:
        return in_bundle
    # If the bundle already lacks the model, only one attempt is made, so that a build with nothing to do is quick.
    before = None if previous is None else previous.manifest.models.get(model.name)
    was_absent = before is not None and before.built is None
    limits = replace(context.limits, attempts=1) if was_absent else None
    contents, origins = context.fetch(replace(model, locked=replace(model.locked, files=missing)), limits)
    lacking = {file.path for file in missing}
    made = convert_again(model, context) if lacking & {file.path for file in model.locked.converted} else {}
    if made is None or len(contents) + len(made.keys() & lacking) < len(missing):
        return None
    contents, origins = {**contents, **made}, {**origins, **dict.fromkeys(made, _CONVERTED)}
    fetched = {path: context.store.path(content.sha256) for path, content in contents.items()}
    return _Source({**held, **contents}, {**places, **fetched}, {**in_bundle.origins, **origins})


def _origin_files(source: _Source) -> ModelFiles:
    digests = {path: content.sha256 for path, content in source.contents.items()}
    return ModelFiles(digests, lambda path: source.places[path].read_bytes(), lambda *what: _beginning(source, *what))


def _beginning(source: _Source, path: str, size: int) -> bytes:
    with source.places[path].open("rb") as file:
        return file.read(size)


def _configured(
    model: PlannedModel,
    source: _Source,
    configuration: Configuration,
    previous: VerificationReport | None,
    store: Store,
) -> _Source:
    """Return the source files as they are shipped; what was written for them is put into the store."""
    contents, places, origins = dict(source.contents), dict(source.places), dict(source.origins)
    for path, content in configuration.contents.items():
        contents[path] = content
        before = None if previous is None else previous.manifest.files.get(source_path(model.name, path))
        if previous is not None and before == content:
            places[path], origins[path] = previous.root / source_path(model.name, path), _IN_BUNDLE
            continue
        places[path], origins[path] = store.path(content.sha256), _CONFIGURED
        if store.find(content.sha256, content.size) is None:
            with store.writer(path, digest=content.sha256, size=content.size) as writer:
                writer.write(configuration.written[path])
                writer.finish()
    return _Source(contents, places, origins)


def _check_dimension(model: PlannedModel, facts: ModelFacts) -> None:
    if facts.dimension != model.locked.dimension:
        raise LockError(
            f"{model.name}: dimension: expected {model.locked.dimension}, as locked, found {facts.dimension}"
        )


def find_compiled(store: Store, key: Digest) -> Derived | None:
    """Return an earlier compilation with that cache key, if the store still has all of its files; hashes them again."""
    derived = read_compilation(store, key)
    if derived is None or any(store.find(file.sha256, file.size) is None for file in derived.files.values()):
        return None
    return derived


def read_compilation(store: Store, key: Digest) -> Derived | None:
    """Return the store's record of an earlier compilation with that cache key; its files may be missing."""
    data = store.read_record(key)
    if data is None:
        return None
    try:
        record = Derived.from_bytes(data)
    except FormatError:
        return None  # written by another release of the builder
    return record if record.derivation == key else None
