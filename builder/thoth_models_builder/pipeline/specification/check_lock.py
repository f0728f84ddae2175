"""``lock --check``: whether specification and lock agree, without asking a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thoth_models_builder.pipeline.inputs import read_lock, read_spec
from thoth_models_builder.spec.lockfile import differences
from thoth_models_builder.trust.licence_policy import refuse_licences

if TYPE_CHECKING:
    from pathlib import Path


def check_lock(file: Path, lock_file: Path) -> list[str]:
    """Return each difference between a lock and the specification in ``file``.

    Raises:
        SpecError: The specification has errors.
        LockError: The lock is missing or cannot be read.
        LicenceError: There is no difference, but the specification does not permit the licence of a model.
    """
    spec, lock = read_spec(file), read_lock(lock_file)
    found = differences(spec, lock)
    if not found:
        refuse_licences(spec.licences, {name: entry.license for name, entry in lock.models.items()})
    return found
