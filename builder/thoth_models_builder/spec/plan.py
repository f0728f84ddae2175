"""What a build has to do: which models, which of their files are still to be had, and who stands in for whom.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thoth_models_builder.errors import LockOutOfDateError, UsageError
from thoth_models_builder.lockfile import differences

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from thoth_models.digest import ContentDigest
    from thoth_models.manifest import Manifest
    from thoth_models_builder.lockfile import Lock, LockedModel
    from thoth_models_builder.spec import ModelSpec, Spec


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedModel:
    """One model that a build is to ship: as specified, and as locked."""

    name: str
    spec: ModelSpec
    locked: LockedModel


def plan_models(spec: Spec, lock: Lock, selected: Sequence[str] | None, lock_file: str) -> list[PlannedModel]:
    """Return the models to build, in the order of the specification.

    Args:
        spec: What is wanted.
        lock: What it resolved to.
        selected: Names of the models to build; None for all.
        lock_file: Path of the lock, for messages.

    Raises:
        UsageError: ``selected`` names a model that the specification has not.
        LockOutOfDateError: Specification and lock disagree about a model that is to be built.
    """
    if unknown := [name for name in selected or () if name not in spec.models]:
        known = ", ".join(spec.models)
        raise UsageError(f"--model: expected a model of the specification ({known}), found {', '.join(unknown)}")
    names = [name for name in spec.models if selected is None or name in selected]
    if lines := differences(spec, lock, None if selected is None else names):
        raise LockOutOfDateError(lock_file, lines)
    return [PlannedModel(name=name, spec=spec.models[name], locked=lock.models[name]) for name in names]


def held_contents(model: PlannedModel, previous: Manifest | None) -> dict[str, ContentDigest] | None:
    """Return the contents of a model's files if a previous bundle has all of them, by path in the model's directory."""
    if previous is None:
        return None
    contents: dict[str, ContentDigest] = {}
    for file in model.locked.files:
        content = previous.files.get(source_path(model.name, file.path))
        if content is None or content.sha256 != file.sha256:
            return None
        contents[file.path] = content
    return contents


def source_path(model: str, path: str) -> str:
    """Return where a source file of a model lies in a bundle."""
    return f"{model}/source/{path}"


def stand_ins(name: str, spec: Spec, present: Collection[str]) -> tuple[str, ...]:
    """Return which of the ``present`` models may stand in for an absent one, alternates of alternates included.

    In order. Only alternates with ``other_space: accept`` may: the space of a model that is absent is not known.
    """
    order: dict[str, None] = {}
    pending = [name]
    while pending:
        current = pending.pop()
        if current not in order:
            order[current] = None
            alternates = spec.models[current].alternates
            pending += [other.model for other in reversed(alternates) if other.other_space == "accept"]
    return tuple(model for model in order if model != name and model in present)
