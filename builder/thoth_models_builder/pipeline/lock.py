"""Resolving one model: from its specification and its sources to its lock entry."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from thoth_models.canonical import FormatError, Node, safe_path
from thoth_models_builder.describe import ModelFiles, describe, read_modules
from thoth_models_builder.errors import SourceError, UnsupportedModelError
from thoth_models_builder.lockfile import LockedFile, LockedModel, entry_differences, locked_sources
from thoth_models_builder.reports import LockedModelReport
from thoth_models_builder.spec import HubSource
from thoth_models_builder.variants import MODULES_FILE, choose_files, is_configuration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thoth_models.digest import Digest
    from thoth_models_builder.errors import SourceAttempt
    from thoth_models_builder.obtain import Supply
    from thoth_models_builder.sources import Listing, RemoteFile, Source
    from thoth_models_builder.spec import ModelSpec
    from thoth_models_builder.variants import FileChoice

_log = logging.getLogger(__name__)


def lock_model(
    name: str, model: ModelSpec, existing: LockedModel | None, supply: Supply
) -> tuple[LockedModel | None, LockedModelReport]:
    """Resolve one model through the first of its sources that answers.

    An entry that fits the specification is kept when the origin, which is the first source, does not answer: a mirror
    has the same bytes, but does not know the origin's commits and ids.

    Returns:
        The entry to record, or None where there is none; and what to tell about it.

    Raises:
        UnsupportedModelError: The model needs what a bundle refuses.
    """
    attempts: list[SourceAttempt] = []
    fits = existing is not None and not entry_differences(name, model, existing)
    with supply.sources(model, None) as sources:
        for index, source in enumerate(sources):
            if index and (fits or not _is_interchangeable(model)):
                break
            try:
                entry, choice = _resolve(name, model, source, supply)
            except SourceError as error:
                attempts.append(supply.failed(name, source, None, error))
            except UnsupportedModelError as error:
                raise UnsupportedModelError(f"{name} ({source.label}): {error}") from error
            else:
                report = LockedModelReport(
                    name=name,
                    state="unchanged" if entry == existing else "resolved",
                    source=source.label,
                    files=len(entry.files),
                    bytes=entry.size,
                    refused=choice.refused,
                    attempts=tuple(attempts),
                )
                return entry, report
    if existing is None:
        return None, LockedModelReport(name=name, state="missing", attempts=tuple(attempts))
    report = LockedModelReport(
        name=name, state="kept", files=len(existing.files), bytes=existing.size, attempts=tuple(attempts)
    )
    return existing, report


def _is_interchangeable(model: ModelSpec) -> bool:
    """Whether another source can speak for the origin: not for a branch or tag, whose commit only the origin knows."""
    origin = model.sources[0]
    return not isinstance(origin, HubSource) or origin.is_pinned


def _resolve(name: str, model: ModelSpec, source: Source, supply: Supply) -> tuple[LockedModel, FileChoice]:
    with supply.waiting():
        listing = source.list_files()
    revision = _revision(model, listing)
    remote = {_checked(file): file for file in listing.files}
    if MODULES_FILE not in remote:
        raise UnsupportedModelError(f"{MODULES_FILE}: expected a model of sentence-transformers, found no such file")
    modules_file = _ingest(name, source, [remote[MODULES_FILE]], supply)
    modules = read_modules(_files(modules_file, supply))
    choice = choose_files(remote, {module.directory for module in modules}, model.variants)
    chosen = [remote[path] for path in choice.included if path != MODULES_FILE]
    # Files that the source told a digest of are not downloaded to be locked; the build compares them.
    told = {file.path: file.sha256 for file in chosen if file.sha256 is not None and not is_configuration(file.path)}
    known = {path: _locked(remote[path], remote[path].size, sha256) for path, sha256 in told.items()}
    ingested = _ingest(name, source, [file for file in chosen if file.path not in told], supply)
    locked = {**known, **ingested, **modules_file}
    facts = describe(_files(locked, supply))
    entry = LockedModel(
        sources=locked_sources(model),
        variants=tuple(sorted(model.variants)),
        revision=revision,
        license=listing.license,
        dimension=facts.dimension,
        files=tuple(locked[path] for path in sorted(locked)),
    )
    return entry, choice


def _revision(model: ModelSpec, listing: Listing) -> str | None:
    """Return the commit of the origin, as far as the answering source or the specification tells it."""
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


def _ingest(name: str, source: Source, files: Sequence[RemoteFile], supply: Supply) -> dict[str, LockedFile]:
    """Fetch files whose digest nobody told into the store, and return their lock entries."""
    if not files:
        return {}
    contents, failures = supply.fetch(source, files, f"{name} from {source.label}")
    if failures:
        raise failures[0].error
    locked: dict[str, LockedFile] = {}
    for file in files:
        content = contents[file.path]
        if file.blob_id is not None:
            _check_blob_id(file, supply.store.read(content.sha256))
        locked[file.path] = _locked(file, content.size, content.sha256)
    return locked


def _check_blob_id(file: RemoteFile, data: bytes) -> None:
    found = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    if found != file.blob_id:
        raise SourceError(f"{file.path}: expected the git blob {file.blob_id}, found {found}")


def _files(locked: dict[str, LockedFile], supply: Supply) -> ModelFiles:
    return ModelFiles(
        {path: file.sha256 for path, file in locked.items()},
        lambda path: supply.store.read(locked[path].sha256),
    )
