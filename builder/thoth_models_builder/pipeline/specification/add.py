"""``init`` and ``add``: check a model as ``lock`` does, write it to models.yaml, and lock it.

Nothing is written unless the source answered, and the model is one that a bundle can contain.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from thoth_models_builder.errors import SourceError, SourceUnreachableError, UsageError
from thoth_models_builder.pipeline.fetch import FetchContext
from thoth_models_builder.pipeline.inputs import existing_lock_bytes, read_spec_bytes
from thoth_models_builder.pipeline.lock import resolve
from thoth_models_builder.pipeline.specification.both_files import Places, replace_both
from thoth_models_builder.reports.results import EditReport, LockedModelReport
from thoth_models_builder.spec import edit
from thoth_models_builder.spec.lockfile import Lock, differences, locked_sources
from thoth_models_builder.spec.models_yaml import ANY_LICENCE, DirectorySource, HubSource, parse_spec
from thoth_models_builder.spec.new_model import default_alias, default_name, new_model, source_of
from thoth_models_builder.spec.starter import first_file
from thoth_models_builder.storage.store import Store
from thoth_models_builder.trust.licence_policy import refuse_licences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thoth_models_builder.sources.limits import Limits
    from thoth_models_builder.spec.lockfile import LockedModel
    from thoth_models_builder.spec.models_yaml import ModelSpec, Source, Spec
    from thoth_models_builder.watcher import Watcher


@dataclass(frozen=True, kw_only=True, slots=True)
class NewModelOptions:
    """A model to add.

    Attributes:
        source: Its source, as a user writes it, see :mod:`thoth_models_builder.spec.new_model`.
        name: Its name; None for one that follows from the source.
        variants: Runnable forms to ship, in order of preference; empty for the default.
        aliases: Other names of it.
        revision: Commit, tag or branch of a repository of the Hub; None for its branch ``main``.
        pooling: Modes of pooling, for a repository that does not say how it is done; empty for none.
    """

    source: str
    name: str | None = None
    variants: Sequence[str] = ()
    aliases: Sequence[str] = ()
    revision: str | None = None
    pooling: Sequence[str] = ()


def init(places: Places, sources: Sequence[str], *, limits: Limits, watcher: Watcher) -> EditReport:
    """Write a commented models.yaml, which must not exist.

    Args:
        places: The specification, its lock, and the store.
        sources: Sources of the models to list, each checked and locked as :func:`add` does. If there are none, the
            file has a small model as an example, and no source is asked.
        limits: Bounds on every wait.
        watcher: Receives the progress of transfers.

    Raises:
        UsageError: The file exists, or a source has none of the known forms.
        SourceError, UnsupportedModelError, OutputError: As in :func:`add`.
    """
    file, lock_file = places.file, places.lock
    if os.path.lexists(file):
        raise UsageError(f"{file}: expected no file yet, found one; `thoth-bundle add` adds a model to it")
    if not sources:
        data = first_file().encode()
        parse_spec(data, str(file))
        replace_both(file, lock_file, (None, existing_lock_bytes(lock_file)), (data, None))
        return EditReport(file=str(file), lock=str(lock_file), is_new=True, models=(), sources={}, differences=())
    models = [NewModelOptions(source=source) for source in sources]
    return add(places, models, limits=limits, watcher=watcher)


def add(places: Places, models: Sequence[NewModelOptions], *, limits: Limits, watcher: Watcher) -> EditReport:
    """Add models to a specification, which is created if it does not exist, and lock them.

    Entries of other models in the lock stay as they are, and their sources are not asked.

    Raises:
        UsageError: A source has none of the known forms, or a name is taken.
        SpecError: The specification has errors, or a layout that cannot be edited.
        LockError: The lock cannot be read.
        SourceError: A source failed.
        UnsupportedModelError: A model needs something that bundles refuse.
        LicenceError: The specification does not permit the licence of a model.
        OutputError: The files cannot be written.
        (After each of them, both files are as before.)
    """
    file, lock_file = places.file, places.lock
    is_new = not os.path.lexists(file)
    before = None if is_new else read_spec_bytes(file)
    lock_before = existing_lock_bytes(lock_file)
    existing = Lock(models={}) if lock_before is None else Lock.from_bytes(lock_before, str(lock_file))
    context = FetchContext(store=Store(places.store), base=file.parent, limits=limits, watcher=watcher)
    data, entries, reports, sources = before, dict(existing.models), [], {}
    for options in models:
        name, model = _requested(options, file, None if data is None else edit.names_of(data, str(file)))
        entry, model, report = _resolve(name, model, context)
        data = first_file(name, model).encode() if data is None else edit.add_model(data, str(file), name, model)
        entries[name] = entry
        reports.append(report)
        sources[name] = str(entry.origin)
    if data is None:
        raise UsageError("expected at least one model to add, found none")
    spec: Spec = parse_spec(data, str(file))
    refuse_licences(spec.licences, {name: entries[name].license for name in sources})
    lock = Lock(models=entries)
    replace_both(file, lock_file, (before, lock_before), (data, lock.to_bytes()))
    return EditReport(
        file=str(file),
        lock=str(lock_file),
        is_new=is_new,
        models=tuple(reports),
        sources=sources,
        differences=tuple(differences(spec, lock)),
    )


def _requested(options: NewModelOptions, file: Path, taken: Sequence[str] | None) -> tuple[str, ModelSpec]:
    """Return the name of a model and the model, not yet pinned to a commit."""
    is_directory = Path(options.source).is_dir()
    source = source_of(options.source, is_directory=is_directory, revision=options.revision)
    if isinstance(source, DirectorySource):
        source = _relative(source, file)
    name = options.name or default_name(source)
    taken = taken or ()
    if name in taken:
        known = ", ".join(taken)
        raise UsageError(f"--name: expected a name that {file} does not have ({known}), found {name!r}")
    aliases = list(options.aliases)
    alias = default_alias(source, name)
    if options.name is None and alias is not None and alias not in (*taken, *aliases):
        aliases.append(alias)
    return name, new_model(source, options.variants, aliases, options.pooling)


def _relative(source: DirectorySource, file: Path) -> DirectorySource:
    """Return a directory relative to the specification, as the key has it; an absolute path stays."""
    path = Path(source.directory).expanduser()
    if path.is_absolute():
        return DirectorySource(directory=str(path))
    # relpath() takes `..` for the directory above by name, which behind a link is another one.
    known = max((index for index, part in enumerate(path.parts, 1) if part == ".."), default=0)
    path = Path(*path.parts[:known]).resolve().joinpath(*path.parts[known:])
    return DirectorySource(directory=Path(os.path.relpath(path, file.parent.resolve())).as_posix())


def _resolve(name: str, model: ModelSpec, context: FetchContext) -> tuple[LockedModel, ModelSpec, LockedModelReport]:
    """Check a model, and pin a repository to its commit."""
    with context.store.in_use(), context.sources(model, None) as (source,):
        try:
            found = resolve(name, model, source, ANY_LICENCE, context)  # add() looks at the policy
        except SourceError as error:
            kind = type(error) if isinstance(error, SourceUnreachableError) else SourceError
            raise kind(f"{name} from {source.label}: {error}; nothing was written") from error
    pinned = model.model_copy(update={"sources": [_pinned(model.sources[0], found.entry.revision)]})
    entry = replace(found.entry, sources=locked_sources(pinned))
    report = LockedModelReport(
        name=name,
        state="resolved",
        source=str(entry.origin),
        files=len(entry.files),
        bytes=entry.size,
        refused=found.choice.refused,
        configured={file.path: file.reasons for file in found.configured},
        notes=found.notes,
    )
    return entry, pinned, report


def _pinned(source: Source, commit: str | None) -> Source:
    return HubSource(hub=source.hub, revision=commit) if isinstance(source, HubSource) and commit else source
