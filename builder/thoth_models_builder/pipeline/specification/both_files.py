"""Replace models.yaml and models.lock together: after an error, both are as they were before."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thoth_models_builder.errors import OutputError
from thoth_models_builder.storage.files import open_regular, replacing

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
        OutputError: Another process changed one of the files meanwhile, or one cannot be written. Neither was changed.
    """
    for path, expected in zip((file, lock_file), before, strict=True):
        if _current(path) != expected:
            raise OutputError(f"{path}: expected the file as it was read, found that it was changed meanwhile")
    try:
        _write(file, after[0])
        if after[1] is not None:
            try:
                _write(lock_file, after[1])
            except BaseException:
                _restore(file, before[0])
                raise
    except OSError as error:
        raise OutputError(f"expected to write {file} and {lock_file}, found: {error}; neither was changed") from error


def _current(path: Path) -> bytes | None:
    try:
        with open_regular(path) as opened:
            return opened.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{path}: expected a readable file, found: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    target = path.resolve()
    with replacing(target) as file:
        file.write(data)
        if target.exists():
            os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
        os.fsync(file.fileno())


def _restore(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink()
    else:
        _write(path, data)
