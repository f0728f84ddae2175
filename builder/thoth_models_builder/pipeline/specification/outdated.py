"""``outdated``: which commit upstream has, and whether vectors would change with it. Changes neither file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from thoth_models_builder.bundle.configure import configure, has_unit_length
from thoth_models_builder.bundle.describe import describe
from thoth_models_builder.bundle.model_files import ModelFiles
from thoth_models_builder.bundle.space_of import space_of
from thoth_models_builder.errors import LicenceError, SourceError, UnsupportedModelError
from thoth_models_builder.pipeline.fetch import FetchContext
from thoth_models_builder.pipeline.inputs import read_lock, read_spec
from thoth_models_builder.pipeline.lock import resolve
from thoth_models_builder.pipeline.reviewed.code import described
from thoth_models_builder.reports.results import OutdatedModelReport
from thoth_models_builder.sources.source import RemoteFile
from thoth_models_builder.spec.models_yaml import HubSource
from thoth_models_builder.spec.plan import plan_models
from thoth_models_builder.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from thoth_models.bundle.digest import Digest
    from thoth_models_builder.pipeline.specification.both_files import Places
    from thoth_models_builder.sources.limits import Limits
    from thoth_models_builder.sources.source import Source
    from thoth_models_builder.spec.lockfile import LockedFile, LockedModel
    from thoth_models_builder.spec.models_yaml import LicencePolicy
    from thoth_models_builder.spec.plan import PlannedModel
    from thoth_models_builder.watcher import Watcher

_DEFAULT_BRANCH = "main"


def outdated(places: Places, *, limits: Limits, watcher: Watcher) -> tuple[OutdatedModelReport, ...]:
    """Compare the lock of each model whose origin is a repository with the last commit of a branch there.

    For a model that is pinned to a commit, the branch is ``main``; otherwise it is the branch or tag of the
    specification. What :func:`lock` would download goes to the store: small files, and weights only if they are those
    of a StaticEmbedding, or the Hub does not state their digest.

    Raises:
        SpecError: The specification has errors.
        LockError, LockOutOfDateError: The lock cannot be read, or does not fit the specification.
        UnsupportedModelError: The locked files are not of a model that a bundle can contain.
    """
    spec = read_spec(places.file)
    planned = plan_models(spec, read_lock(places.lock), None, str(places.lock))
    context = FetchContext(store=Store(places.store), base=places.file.parent, limits=limits, watcher=watcher)
    with context.store.in_use():
        return tuple(_compare(model, spec.licences, context) for model in planned)


def _compare(model: PlannedModel, licences: LicencePolicy, context: FetchContext) -> OutdatedModelReport:
    origin = model.spec.sources[0]
    if not isinstance(origin, HubSource):
        return OutdatedModelReport(name=model.name, state="not asked", source=str(model.locked.origin))
    branch = _DEFAULT_BRANCH if origin.is_pinned else origin.revision
    newest = model.spec.model_copy(update={"sources": [HubSource(hub=origin.hub, revision=branch)]})
    report = OutdatedModelReport(
        name=model.name,
        state="current",
        source=f"hub:{origin.hub}@{model.locked.revision}",
        branch=branch,
        is_pinned=origin.is_pinned,
    )
    try:
        with context.sources(newest, None) as (source,):
            with context.waiting():
                report = replace(report, upstream=source.list_files().revision)
            if report.upstream == model.locked.revision:
                return report
            try:
                entry = resolve(model.name, newest, source, licences, context).entry
                space = _space(model, entry, source, context)
            except UnsupportedModelError as error:
                return replace(report, state="refused", reason=str(error))
            except LicenceError as error:
                return replace(report, state="refused", reason=error.violations[0].reason)
            with context.sources(model.spec, model.locked.revision) as (before, *_others):
                is_same = space == _space(model, model.locked, before, context)
    except UnsupportedModelError as error:
        # Not of the commit upstream: of the one that is locked, perhaps by another release.
        raise UnsupportedModelError(f"{model.name} ({report.source}), as it is locked: {error}") from error
    except SourceError as error:
        return replace(report, state="unknown", reason=str(error))
    return replace(
        report,
        state="same vectors" if is_same else "new space",
        upstream=entry.revision,
        changed=_changed(model.locked.files, entry.files),
    )


def _changed(before: Iterable[LockedFile], after: Iterable[LockedFile]) -> tuple[str, ...]:
    """Return the paths of files that are not in both, or have other bytes."""
    sides = [{file.path: file.sha256 for file in files} for files in (before, after)]
    return tuple(sorted(path for path in sides[0].keys() | sides[1].keys() if sides[0].get(path) != sides[1].get(path)))


def _space(model: PlannedModel, entry: LockedModel, source: Source, context: FetchContext) -> Digest:
    """Return the embedding space of a lock entry; small files that the store does not have are fetched."""
    locked = {file.path: file for file in entry.files}

    def fetched(path: str) -> Digest:
        file = locked[path]
        if context.store.find(file.sha256, file.size) is None:
            remote = RemoteFile(path=path, size=file.size, sha256=file.sha256)
            _, failures = context.fetch_from(source, [remote], f"{model.name} from {source.label}")
            if failures:
                raise failures[0].error
        return file.sha256

    digests = {path: file.sha256 for path, file in locked.items()}
    published = ModelFiles(
        digests,
        lambda path: context.store.read(fetched(path)),
        lambda path, size: context.store.read_beginning(fetched(path), size),
    )
    files = configure(described(published, entry), model.spec).files
    facts = describe(files)
    return space_of(files, facts, normalize=has_unit_length(model.spec, facts))
