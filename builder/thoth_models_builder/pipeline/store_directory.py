"""The default directory of the store, and ``gc``, which removes unused files from it."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from thoth_models_builder.errors import UsageError
from thoth_models_builder.pipeline.inputs import read_lock
from thoth_models_builder.reports.results import CollectionReport
from thoth_models_builder.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

STORE_VARIABLE = "THOTH_STORE"


def default_store() -> Path:
    """Return ``THOTH_STORE``, or a directory in the user's cache."""
    if configured := os.environ.get(STORE_VARIABLE):
        return Path(configured)
    try:
        return Path(platformdirs.user_cache_dir("thoth-models")) / "store"
    except RuntimeError as error:
        raise UsageError(f"expected --store or {STORE_VARIABLE}, because this user has no home directory") from error


def gc(store: Path, locks: Sequence[Path], *, unused_days: float, dry_run: bool) -> CollectionReport:
    """Remove files from the store that no lock names and that were not used for ``unused_days``.

    Raises:
        LockError: A lock is missing or cannot be read; nothing was removed.
        StoreError: A build is using the store.
    """
    keep = {digest for path in locks for model in read_lock(path).models.values() for digest in model.digests}
    collected = Store(store).gc(keep, unused_seconds=unused_days * 24 * 60 * 60, dry_run=dry_run)
    return CollectionReport(store=str(store), files=collected.files, bytes=collected.bytes, is_dry_run=dry_run)


def scratch_for(store: Store, *, is_confined: bool) -> Path:
    """Return the directory for the directory of a compile job: that of the store, or the system's temporary one.

    A model's own code does not run as root, and another user cannot enter a store in the home directory of root.
    """
    if not is_confined or os.geteuid() != 0 or _is_open(store.scratch):
        return store.scratch
    return Path(tempfile.gettempdir())


def _is_open(directory: Path) -> bool:
    """Return whether every user may enter a directory."""
    return all(place.stat().st_mode & stat.S_IXOTH for place in (directory, *directory.resolve().parents))
