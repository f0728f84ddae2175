"""``lock``: resolve each model of a specification through its sources, and write its lock entry."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, NamedTuple

from thoth_models.bundle.canonical_json import FormatError, Node, safe_path
from thoth_models_builder.bundle.configure import configure, notes_on
from thoth_models_builder.bundle.describe import describe, read_modules
from thoth_models_builder.bundle.model_files import ModelFiles
from thoth_models_builder.errors import SourceError, UnsupportedModelError
from thoth_models_builder.pipeline.fetch import FetchContext
from thoth_models_builder.pipeline.inputs import existing_lock_bytes, read_lock, read_spec
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
from thoth_models_builder.spec.variants import MODULES_FILE, choose_files, is_configuration
from thoth_models_builder.storage.files import replace_file
from thoth_models_builder.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from thoth_models.bundle.digest import Digest
    from thoth_models.bundle.model import ConfiguredFile
    from thoth_models_builder.errors import SourceAttempt
    from thoth_models_builder.sources.limits import Limits
    from thoth_models_builder.sources.source import Listing, RemoteFile, Source
    from thoth_models_builder.spec.models_yaml import ModelSpec
    from thoth_models_builder.spec.variants import FileChoice
    from thoth_models_builder.watcher import Watcher

_log = logging.getLogger(__name__)


def check_lock(file: Path, lock: Path) -> list[str]:
    """Return each difference between ``lock`` and the specification in ``file``, without asking a source.

    Raises:
        SpecError: The specification has errors.
        LockError: The lock is missing or cannot be read.
    """
    return differences(read_spec(file), read_lock(lock))


def lock(file: Path, lock_file: Path, store: Path, *, limits: Limits, watcher: Watcher) -> LockReport:
    """Resolve every model of a specification and write the lock.

    Raises:
        SpecError: The specification has errors.
        LockError: The existing lock cannot be read; it is never overwritten silently.
        UnsupportedModelError: A model needs something that bundles refuse; the lock was not changed.
    """
    spec = read_spec(file)
    before = existing_lock_bytes(lock_file)
    existing = Lock.from_bytes(before, str(lock_file)) if before else Lock(models={})
    context = FetchContext(store=Store(store), base=file.parent, limits=limits, watcher=watcher)
    models = {}
    reports: list[LockedModelReport] = []
    with context.store.in_use():
        for name, model in spec.models.items():
            entry, report = _lock_model(name, model, existing.models.get(name), context)
            reports.append(report)
            if entry is not None:
                models[name] = entry
    reports += [LockedModelReport(name=name, state="removed") for name in existing.models if name not in spec.models]
    result = Lock(models=models)
    after = result.to_bytes()
    # A lock without any model would say that there is nothing to build.
    is_rewritten = after != before and bool(models or existing.models)
    if is_rewritten:
        replace_file(lock_file.resolve(), after)  # a symlink stays, and the file that it leads to is replaced
    return LockReport(
        file=str(lock_file),
        is_rewritten=is_rewritten,
        models=tuple(reports),
        differences=tuple(differences(spec, result)),
    )


def _lock_model(
    name: str, model: ModelSpec, existing: LockedModel | None, context: FetchContext
) -> tuple[LockedModel | None, LockedModelReport]:
    """Resolve one model through the first of its sources that answers.

    An existing entry that fits the specification is kept if the origin, the first source, does not answer: a mirror has
    the same bytes, but does not know the commits and ids of the origin.

    Returns:
        The entry to record, or None, and the report about it.

    Raises:
        UnsupportedModelError: The model needs something that bundles refuse.
    """
    attempts: list[SourceAttempt] = []
    fits = existing is not None and not entry_differences(name, model, existing)
    with context.sources(model, None) as sources:
        for index, source in enumerate(sources):
            if index and (fits or not _is_interchangeable(model)):
                break
            try:
                found = resolve(name, model, source, context)
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
        configured: Files that a build changes, adds or leaves out, sorted by path.
        notes: Lines for the author of models.yaml.
    """

    entry: LockedModel
    choice: FileChoice
    configured: tuple[ConfiguredFile, ...]
    notes: tuple[str, ...]


def resolve(name: str, model: ModelSpec, source: Source, context: FetchContext) -> Resolved:
    """Return the lock entry of a model as one of its sources has it, and what a build will change in its files.

    Raises:
        SourceError: The source failed.
        UnsupportedModelError: The model needs something that bundles refuse.
    """
    try:
        return _resolve(name, model, source, context)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{name} ({source.label}): {error}") from error


def _resolve(name: str, model: ModelSpec, source: Source, context: FetchContext) -> Resolved:
    with context.waiting():
        listing = source.list_files()
    revision = _revision(model, listing)
    remote = {_checked(file): file for file in listing.files}
    has_modules = MODULES_FILE in remote
    locked = _ingest(name, source, [remote[MODULES_FILE]] if has_modules else [], context)
    # Without modules.json, the repository is that of a transformer, with everything at the top.
    modules = read_modules(model_files(locked.values(), context.store)) if has_modules else []
    choice = choose_files(remote, {module.directory for module in modules} or {""}, model.variants)
    chosen = [remote[path] for path in choice.included if path not in locked]
    locked |= _ingest(name, source, [file for file in chosen if is_configuration(file.path)], context)
    if not has_modules and model.pooling is None:
        # Refuses the model before weights are downloaded: what it is, or which key it lacks, is in small files.
        configure(model_files(locked.values(), context.store), model)
    # Files whose digest the source states are not downloaded now; the build compares them. The weights of a
    # StaticEmbedding are: nothing else has the length of its vectors.
    read = {module.path("model.safetensors") for module in modules[:1] if module.kind == "StaticEmbedding"}
    chosen = [file for file in chosen if file.path not in locked]
    stated = {file.path: file.sha256 for file in chosen if file.sha256 is not None and file.path not in read}
    locked |= {path: _locked(remote[path], remote[path].size, sha256) for path, sha256 in stated.items()}
    locked |= _ingest(name, source, [file for file in chosen if file.path not in stated], context)
    configuration = configure(model_files(locked.values(), context.store), model)
    facts = describe(configuration.files)
    entry = LockedModel(
        sources=locked_sources(model),
        variants=tuple(sorted(model.variants)),
        revision=revision,
        license=listing.license,
        dimension=facts.dimension,
        files=tuple(locked[path] for path in sorted(locked)),
    )
    return Resolved(entry, choice, configuration.configured, (*configuration.notes, *notes_on(model, facts)))


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


def _ingest(name: str, source: Source, files: Sequence[RemoteFile], context: FetchContext) -> dict[str, LockedFile]:
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
    return ModelFiles(digests, lambda path: store.read(digests[path]))
