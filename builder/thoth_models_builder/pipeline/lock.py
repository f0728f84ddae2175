"""``lock``: resolve each model of a specification through its sources, and write its lock entry."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from thoth_models.bundle.canonical_json import FormatError, Node, safe_path
from thoth_models.bundle.digest import ContentDigest
from thoth_models_builder.bundle.code.references import without_code
from thoth_models_builder.bundle.configure import configure, notes_on
from thoth_models_builder.bundle.describe import WITH_WEIGHTS, describe, read_modules
from thoth_models_builder.bundle.kinds import kind_paths, refuse_other_kinds
from thoth_models_builder.bundle.model_files import ModelFiles
from thoth_models_builder.bundle.published.repairs import with_repairs
from thoth_models_builder.bundle.published.special_tokens import refuse_without_room
from thoth_models_builder.bundle.published.tokenizers import (
    refuse_tokens_beyond_rows,
    refuse_without_tokenizer,
    vocabularies,
)
from thoth_models_builder.errors import LicenceError, SourceError, UnsupportedModelError
from thoth_models_builder.pipeline.fetch import FetchContext, partial_files
from thoth_models_builder.pipeline.inputs import existing_lock_bytes, read_spec
from thoth_models_builder.pipeline.reviewed.advice import advice_on
from thoth_models_builder.pipeline.reviewed.code import CodeFinder
from thoth_models_builder.pipeline.reviewed.pickles import lock_converted
from thoth_models_builder.reports.results import LockedModelReport, LockReport
from thoth_models_builder.spec.lockfile import (
    Lock,
    LockedFile,
    LockedModel,
    differences,
    entry_differences,
    locked_sources,
)
from thoth_models_builder.spec.models_yaml import HubSource
from thoth_models_builder.spec.reviewed.conversion import plan_conversions
from thoth_models_builder.spec.variants import MODULES_FILE, choose_files, is_configuration, path_in
from thoth_models_builder.storage.files import remove_leftovers, replace_file, writing
from thoth_models_builder.storage.store import Store
from thoth_models_builder.trust.licence_policy import refuse_licences

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from thoth_models.bundle.digest import Digest
    from thoth_models.bundle.model import ConfiguredFile
    from thoth_models_builder.bundle.configure import Configuration
    from thoth_models_builder.bundle.describe import ModelFacts, Module
    from thoth_models_builder.errors import LicenceViolation, SourceAttempt
    from thoth_models_builder.sources.limits import Limits
    from thoth_models_builder.sources.source import Listing, RemoteFile, Source
    from thoth_models_builder.spec.models_yaml import LicencePolicy, ModelSpec
    from thoth_models_builder.spec.reviewed.records import ConvertedFile, LockedCode
    from thoth_models_builder.spec.variants import FileChoice
    from thoth_models_builder.watcher import Watcher

_log = logging.getLogger(__name__)


def lock(file: Path, lock_file: Path, store: Path, *, limits: Limits, watcher: Watcher) -> LockReport:
    """Resolve every model of a specification and write the lock.

    Raises:
        SpecError: The specification has errors.
        LockError: The existing lock cannot be read; it is never overwritten silently.
        UnsupportedModelError: A model needs something that bundles refuse; the lock was not changed.
        LicenceError: The specification does not permit the licence of a model; the lock was not changed.
        StoreError, OutputError: The store or the lock cannot be written; the lock was not changed.
    """
    spec = read_spec(file)
    before = existing_lock_bytes(lock_file)
    existing = Lock.from_bytes(before, str(lock_file)) if before else Lock(models={})
    context = FetchContext(store=Store(store), base=file.parent, limits=limits, watcher=watcher)
    models = {}
    reports: list[LockedModelReport] = []
    violations: list[LicenceViolation] = []
    with context.store.in_use():
        for name, model in spec.models.items():
            try:
                entry, report = _lock_model(name, model, existing.models.get(name), spec.licences, context)
            except LicenceError as error:
                violations += error.violations  # of all models, so that one look at them is enough
                continue
            reports.append(report)
            if entry is not None:
                models[name] = entry
    if violations:
        raise LicenceError(violations)
    reports += [LockedModelReport(name=name, state="removed") for name in existing.models if name not in spec.models]
    result = Lock(models=models)
    after = result.to_bytes()
    # A lock without any model would say that there is nothing to build.
    is_rewritten = after != before and bool(models or existing.models)
    place = lock_file.resolve()  # a symlink stays, and the file that it leads to is replaced
    with writing(lock_file):
        if is_rewritten:
            replace_file(place, after)
        else:
            remove_leftovers(place)
    return LockReport(
        file=str(lock_file),
        is_rewritten=is_rewritten,
        models=tuple(reports),
        differences=tuple(differences(spec, result)),
    )


def _lock_model(
    name: str, model: ModelSpec, existing: LockedModel | None, licences: LicencePolicy, context: FetchContext
) -> tuple[LockedModel | None, LockedModelReport]:
    """Resolve one model through the first of its sources that answers.

    An existing entry that fits the specification is kept if the origin, the first source, does not answer: a mirror has
    the same bytes, but does not know the commits and ids of the origin.

    Returns:
        The entry to record, or None, and the report about it.

    Raises:
        UnsupportedModelError: The model needs something that bundles refuse.
        LicenceError: Its licence is not permitted.
    """
    attempts: list[SourceAttempt] = []
    fits = existing is not None and not entry_differences(name, model, existing)
    with context.sources(model, None) as sources:
        for index, source in enumerate(sources):
            if index and (fits or not _is_interchangeable(model)):
                break
            try:
                found = resolve(name, model, source, licences, context)
            except SourceError as error:
                attempts.append(context.failed(name, source, None, error))
            else:
                report = LockedModelReport(
                    name=name,
                    state="unchanged" if found.entry == existing else "resolved",
                    source=source.label,
                    files=len(found.entry.files),
                    bytes=found.entry.size,
                    refused=found.choice.refused,
                    attempts=tuple(attempts),
                    configured={file.path: file.reasons for file in found.configured},
                    notes=found.notes,
                )
                return found.entry, report
    if existing is None:
        return None, LockedModelReport(name=name, state="missing", attempts=tuple(attempts))
    refuse_licences(licences, {name: existing.license})
    report = LockedModelReport(
        name=name, state="kept", files=len(existing.files), bytes=existing.size, attempts=tuple(attempts)
    )
    return existing, report


def _is_interchangeable(model: ModelSpec) -> bool:
    """Return whether another source can replace the origin: for a branch or tag, only the origin knows the commit."""
    origin = model.sources[0]
    return not isinstance(origin, HubSource) or origin.is_pinned


class Resolved(NamedTuple):
    """A model as one of its sources has it.

    Attributes:
        entry: Its entry in the lock.
        choice: The choice of its files.
        configured: Files that a build changes or adds, sorted by path.
        notes: Lines for the author of models.yaml.
    """

    entry: LockedModel
    choice: FileChoice
    configured: tuple[ConfiguredFile, ...]
    notes: tuple[str, ...]


def resolve(name: str, model: ModelSpec, source: Source, licences: LicencePolicy, context: FetchContext) -> Resolved:
    """Return the lock entry of a model as one of its sources has it, and what a build will change in its files.

    Raises:
        SourceError: The source failed.
        UnsupportedModelError: The model needs something that bundles refuse.
        LicenceError: Its licence is not permitted.
    """
    try:
        return _resolve(name, model, source, licences, context)
    except UnsupportedModelError as error:
        advice = "" if model.code else advice_on(model, finder_of(name, model, source, context))
        raise type(error)(f"{name} ({source.label}): {error}{advice}") from error


def finder_of(name: str, model: ModelSpec, source: Source, context: FetchContext) -> CodeFinder:
    """Return what finds the code that a model brings, in one of its sources."""
    return CodeFinder(source, model.code, context, lambda place, files: ingest(name, place, files, context))


def _resolve(name: str, model: ModelSpec, source: Source, licences: LicencePolicy, context: FetchContext) -> Resolved:
    found = recognise(name, model, source, context)
    refuse_licences(licences, {name: found.listing.license})
    modules, choice, remote = found.modules, found.choice, found.remote
    tokens = vocabularies(remote, found.directory)
    locked = {path: file for path, file in found.small.items() if path in choice.included}
    chosen = [remote[path] for path in choice.included if path not in locked]
    small = [file for file in chosen if is_configuration(file.path) or file.path in tokens]
    locked |= ingest(name, source, small, context)
    finder = finder_of(name, model, source, context)
    code = finder.locked(found.remote, model_files(locked.values(), context.store)) if model.code else ()
    # What can be refused is refused before weights are fetched and converted.
    places = {module.directory for module in modules if module.kind in WITH_WEIGHTS} if modules else {""}
    planned = plan_conversions(remote, places) if model.pickle == "convert" else ()
    weights = {found.path("model.safetensors")} if found.is_static else set()
    if not weights & {one.path for one in planned}:
        partial = partial_files(found.included, locked, source, context, [one.path for one in planned])
        configuration, facts = _described(partial, model, found, code)
    # Files whose digest the source states are not downloaded now; the build compares them. The weights of a
    # StaticEmbedding are, because nothing else has the length of its vectors.
    chosen = [file for file in chosen if file.path not in locked]
    stated = {file.path: file.sha256 for file in chosen if file.sha256 is not None and file.path not in weights}
    locked |= {path: _locked(remote[path], remote[path].size, sha256) for path, sha256 in stated.items()}
    locked |= ingest(name, source, [file for file in chosen if file.path not in stated], context)
    converted: tuple[ConvertedFile, ...] = ()
    if planned:
        converted = lock_converted(remote, places, lambda files: _contents(name, source, files, context), context.store)
        made = {one.path: one.content for one in converted}
        locked |= {path: LockedFile(path=path, size=one.size, sha256=one.sha256) for path, one in made.items()}
    if weights:  # whose beginning was not verified before
        configuration, facts = _described(model_files(locked.values(), context.store), model, found, code)
    entry = LockedModel(
        sources=locked_sources(model),
        variants=tuple(sorted(model.variants)),
        revision=_revision(model, found.listing),
        license=found.listing.license,
        license_link=found.listing.license_link,
        dimension=facts.dimension,
        files=tuple(locked[path] for path in sorted(locked)),
        code=code,
        converted=converted,
        truncate_dim=None if facts.truncate_dim is None else model.truncate_dim,
    )
    return Resolved(entry, choice, configuration.configured, (*configuration.notes, *notes_on(model, facts)))


def _described(
    files: ModelFiles, model: ModelSpec, found: Recognised, code: Sequence[LockedCode]
) -> tuple[Configuration, ModelFacts]:
    """Configure and describe the files of a model, and compare its tokens with its rows and its maximum length."""
    contents = {one.path: one.content for one in code}
    configuration = configure(without_code(files, contents) if code else files, model)
    facts = describe(configuration.files)
    refuse_tokens_beyond_rows(configuration.files, found.directory, is_static=found.is_static)
    refuse_without_room(configuration.files, found.directory, facts.max_seq_length)
    return configuration, facts


@dataclass(frozen=True, kw_only=True, slots=True)
class Recognised:
    """A dense embedding model of text, by its small files.

    Attributes:
        listing: The files of the source.
        remote: The same by path, each of which is safe.
        small: Entries of the small files that say what it is, which are in the store.
        modules: The steps of its pipeline; empty without modules.json, where models.yaml has to say how to pool.
        choice: The files that its variants need.
    """

    listing: Listing
    remote: Mapping[str, RemoteFile]
    small: Mapping[str, LockedFile]
    modules: Sequence[Module]
    choice: FileChoice

    @property
    def directory(self) -> str:
        """Directory of the first module, which has the tokenizer; empty for the top."""
        return self.modules[0].directory if self.modules else ""

    @property
    def included(self) -> dict[str, RemoteFile]:
        """The files that its variants need, by path."""
        return {path: self.remote[path] for path in self.choice.included}

    @property
    def is_static(self) -> bool:
        """Whether the first module is a table of vectors, a StaticEmbedding."""
        return bool(self.modules) and self.modules[0].kind == "StaticEmbedding"

    def path(self, name: str) -> str:
        """Return the path of a file of the first module."""
        return path_in(self.directory, name)


def recognise(name: str, model: ModelSpec, source: Source, context: FetchContext) -> Recognised:
    """List the files of a model and fetch those that say what it is.

    Raises:
        SourceError: The source failed, or has another commit than the specification.
        UnsupportedModelError: It is not a model that a bundle can contain.
    """
    with context.waiting():
        listing = source.list_files()
    _revision(model, listing)
    remote = {_checked(file): file for file in listing.files}
    small: dict[str, LockedFile] = {}
    files = model_files((), context.store)
    # Twice, because modules.json names the directories of others.
    while more := [remote[path] for path in kind_paths(remote, files) if path not in small]:
        small |= ingest(name, source, more, context)
        files = model_files(small.values(), context.store)
    files = without_code(files, {}) if model.code else files
    refuse_other_kinds(remote, files, has_pooling=model.pooling is not None)
    # Without modules.json, the repository is that of a transformer, with everything at the top.
    modules = read_modules(with_repairs(files, has_code=bool(model.code))) if MODULES_FILE in remote else []
    choice = choose_files(remote, {module.directory for module in modules} or {""}, model.variants)
    found = Recognised(listing=listing, remote=remote, small=small, modules=modules, choice=choice)
    if not found.is_static:
        settings = found.path("tokenizer_config.json")
        wanted = [remote[settings]] if settings in remote else []
        found = replace(found, small={**small, **ingest(name, source, wanted, context)})
    read = model_files(found.small.values(), context.store)
    # Of the files that are taken: one that is left out would be missing where the model is loaded.
    refuse_without_tokenizer(choice.included, found.directory, read, is_static=found.is_static)
    return found


def _contents(
    name: str, source: Source, files: Sequence[RemoteFile], context: FetchContext
) -> dict[str, ContentDigest]:
    """Fetch files into the store unless it has them, and return their contents by path."""
    held = {
        file.path: content
        for file in files
        if file.sha256 is not None and file.size is not None
        if (content := context.store.find(file.sha256, file.size)) is not None
    }
    ingested = ingest(name, source, [file for file in files if file.path not in held], context)
    return held | {path: ContentDigest(size=file.size, sha256=file.sha256) for path, file in ingested.items()}


def _revision(model: ModelSpec, listing: Listing) -> str | None:
    """Return the commit of the origin, from the answering source or the specification."""
    origin = model.sources[0]
    if not isinstance(origin, HubSource):
        return None
    pinned = origin.revision if origin.is_pinned else None
    if pinned is not None and listing.revision not in (None, pinned):
        raise SourceError(f"expected the commit {pinned}, found {listing.revision}")
    return listing.revision or pinned


def _checked(file: RemoteFile) -> str:
    try:
        return safe_path(Node(file.path, "path"))
    except FormatError as error:
        raise SourceError(str(error)) from error


def _locked(file: RemoteFile, size: int | None, sha256: Digest) -> LockedFile:
    if size is None:
        raise SourceError(f"{file.path}: expected its size, found none")
    return LockedFile(path=file.path, size=size, sha256=sha256, blob_id=file.blob_id)


def ingest(name: str, source: Source, files: Sequence[RemoteFile], context: FetchContext) -> dict[str, LockedFile]:
    """Fetch files of unknown digest into the store, and return their lock entries."""
    if not files:
        return {}
    contents, failures = context.fetch_from(source, files, f"{name} from {source.label}")
    if failures:
        raise failures[0].error
    locked: dict[str, LockedFile] = {}
    for file in files:
        content = contents[file.path]
        if file.blob_id is not None:
            _check_blob_id(file, context.store.read(content.sha256))
        locked[file.path] = _locked(file, content.size, content.sha256)
    return locked


def _check_blob_id(file: RemoteFile, data: bytes) -> None:
    found = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    if found != file.blob_id:
        raise SourceError(f"{file.path}: expected the git blob {file.blob_id}, found {found}")


def model_files(locked: Iterable[LockedFile], store: Store) -> ModelFiles:
    """Return locked files to be described, whose small ones are read from the store."""
    digests = {file.path: file.sha256 for file in locked}
    return ModelFiles(
        digests,
        lambda path: store.read(digests[path]),
        lambda path, size: store.read_beginning(digests[path], size),
    )
