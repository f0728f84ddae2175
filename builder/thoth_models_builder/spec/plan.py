"""Plan a build: which models it ships, which of their files exist already, and which models can stand in.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thoth_models_builder.errors import LockOutOfDateError, UsageError
from thoth_models_builder.spec.lockfile import differences

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from thoth_models.bundle.digest import ContentDigest
    from thoth_models.bundle.manifest import Manifest
    from thoth_models_builder.spec.lockfile import Lock, LockedModel
    from thoth_models_builder.spec.models_yaml import ModelSpec, Spec


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedModel:
    """One model to build: as specified, and as locked."""

    name: str
    spec: ModelSpec
    locked: LockedModel


def plan_models(spec: Spec, lock: Lock, selected: Sequence[str] | None, lock_file: str) -> list[PlannedModel]:
    """Return the models to build, in the order of the specification.

    Args:
        spec: The specification.
        lock: The lock.
        selected: Names of the models to build; None for all.
        lock_file: Path of the lock, for messages.

    Raises:
        UsageError: ``selected`` names a model that the specification does not have.
        LockOutOfDateError: Specification and lock disagree about a selected model.
    """
    if unknown := [name for name in selected or () if name not in spec.models]:
        known = ", ".join(spec.models)
        raise UsageError(f"--model: expected a model of the specification ({known}), found {', '.join(unknown)}")
    names = [name for name in spec.models if selected is None or name in selected]
    if lines := differences(spec, lock, None if selected is None else names):
        raise LockOutOfDateError(lock_file, lines)
    return [PlannedModel(name=name, spec=spec.models[name], locked=lock.models[name]) for name in names]


def held_contents(model: PlannedModel, previous: Manifest | None) -> dict[str, ContentDigest] | None:
    """Return the contents of the locked files that a previous bundle has, by path in the model's directory.

    Returns:
        None if a file is missing there for another reason than that the bundle has a configured one in its place. The
        original of a configured file is not in a bundle, and so is not in the result.
    """
    if previous is None:
        return None
    before = previous.models.get(model.name)
    built = None if before is None else before.built
    originals = {} if built is None else {file.path: file.origin for file in built.configured}
    contents: dict[str, ContentDigest] = {}
    for file in model.locked.files:
        content = previous.files.get(source_path(model.name, file.path))
        if content is not None and content.sha256 == file.sha256:
            contents[file.path] = content
        elif originals.get(file.path) != file.sha256:
            return None
    return contents or None


def source_path(model: str, path: str) -> str:
    """Return the path of a source file of a model in a bundle."""
    return f"{model}/source/{path}"


def stand_ins(name: str, spec: Spec, present: Collection[str]) -> tuple[str, ...]:
    """Return the ``present`` models that may stand in for an absent one, including alternates of alternates.

    They are in order of preference. Only alternates with ``other_space: accept`` qualify, because the space of an
    absent model is unknown.
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
