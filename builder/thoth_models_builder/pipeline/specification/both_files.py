"""Replace models.yaml and models.lock together: after an error, both are as they were before."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thoth_models_builder.errors import OutputError
from thoth_models_builder.pipeline.inputs import read_bounded
from thoth_models_builder.storage.files import prepared

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """The files that a command works with.

    Attributes:
        file: The specification.
        lock: The lock.
        store: Directory of the store.
    """

    file: Path
    lock: Path
    store: Path


def replace_both(
    file: Path, lock_file: Path, before: tuple[bytes | None, bytes | None], after: tuple[bytes, bytes | None]
) -> None:
    """Write a specification and its lock.

    Args:
        file: The specification; a symlink stays, and the file that it leads to is replaced.
        lock_file: The lock.
        before: The bytes that the change is based on, of each file; None for a file that does not exist.
        after: The bytes to write; None leaves the lock as it is.

    Raises:
        OutputError: Another process changed one of the files meanwhile, or one cannot be written. Neither was changed,
            unless the message says otherwise.
    """
    for path, expected in zip((file, lock_file), before, strict=True):
        if _current(path) != expected:
            raise OutputError(f"{path}: expected the file as it was read, found that it was changed meanwhile")
    try:
        _write_both(file.resolve(), lock_file.resolve(), before[0], after)
    except OSError as error:
        raise OutputError(f"expected to write {file} and {lock_file}, found: {error}; neither was changed") from error


def _write_both(file: Path, lock_file: Path, file_before: bytes | None, after: tuple[bytes, bytes | None]) -> None:
    """Write everything that may be needed before the first file is replaced: from there on, files are only renamed."""
    data, lock = after
    with contextlib.ExitStack() as stack:
        new = stack.enter_context(prepared(file, data))
        if lock is None:
            new.replace(file)
            return
        old = None if file_before is None else stack.enter_context(prepared(file, file_before))
        new_lock = stack.enter_context(prepared(lock_file, lock))
        try:
            new.replace(file)
            new_lock.replace(lock_file)
        except BaseException as error:
            if new_lock.exists() and not new.exists():  # one was renamed, and the other was not
                _restore(file, old, error)
            raise


def _restore(file: Path, old: Path | None, reason: BaseException) -> None:
    try:
        if old is None:
            file.unlink(missing_ok=True)
        else:
            old.replace(file)
    except OSError as error:
        raise OutputError(
            f"{file}: expected its old content again after {reason!r}, found: {error}; it was changed, "
            "and its lock was not; `thoth-bundle lock` makes a lock that fits"
        ) from error


def _current(path: Path) -> bytes | None:
    try:
        return read_bounded(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{path}: expected a readable file, found: {error.strerror}") from error
