"""``remove``: take a model out of models.yaml and models.lock, with the comments that belong to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thoth_models_builder.errors import UsageError
from thoth_models_builder.pipeline.inputs import existing_lock_bytes, read_spec_bytes
from thoth_models_builder.pipeline.specification.both_files import replace_both
from thoth_models_builder.reports.results import EditReport, LockedModelReport
from thoth_models_builder.spec import edit
from thoth_models_builder.spec.lockfile import Lock, differences
from thoth_models_builder.spec.models_yaml import parse_spec

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models_builder.spec.models_yaml import Spec


def remove(file: Path, lock_file: Path, name: str) -> EditReport:
    """Remove a model from a specification and from its lock, if there is one. No source is asked.

    Raises:
        UsageError: There is no such model, or the default or an alternate of another model is this one, or it is the
            only one.
        SpecError: The specification has errors, or a layout that cannot be edited.
        LockError: The lock cannot be read.
        OutputError: The files cannot be written.
        (After each of them, both files are as before.)
    """
    before = read_spec_bytes(file)
    spec = parse_spec(before, str(file))
    _refuse_uses(name, spec, file)
    lock_before = existing_lock_bytes(lock_file)
    data = edit.remove_model(before, str(file), name)
    lock, entries = None, Lock(models={})
    if lock_before is not None:
        entries = Lock.from_bytes(lock_before, str(lock_file))
        entries = Lock(models={key: entry for key, entry in entries.models.items() if key != name})
        lock = entries.to_bytes()
    replace_both(file, lock_file, (before, lock_before), (data, lock))
    return EditReport(
        file=str(file),
        lock=str(lock_file),
        is_new=False,
        models=(LockedModelReport(name=name, state="removed"),),
        sources={},
        differences=() if lock_before is None else tuple(differences(parse_spec(data, str(file)), entries)),
    )


def _refuse_uses(name: str, spec: Spec, file: Path) -> None:
    if name not in spec.models:
        owner = next((model for model, entry in spec.models.items() if name in entry.aliases), None)
        hint = "" if owner is None else f", which is an alias of {owner}"
        raise UsageError(f"expected a model of {file} ({', '.join(spec.models)}), found {name!r}{hint}")
    if len(spec.models) == 1:
        raise UsageError(f"{file}: expected a model that stays, found {name!r} as the only one")
    uses = [f"bundle.default is {name}"] if spec.bundle.default == name else []
    uses += [
        f"models.{other}.alternates has {name}"
        for other, model in spec.models.items()
        if other != name and any(alternate.model == name for alternate in model.alternates)
    ]
    if uses:
        raise UsageError(f"{file}: expected no other use of {name!r}, found: {'; '.join(uses)}; change that first")
