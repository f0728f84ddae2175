"""What commands read and show: models.yaml and models.lock, and text without secrets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from thoth_models.bundle.hidden_characters import escaped
from thoth_models_builder.errors import Finding, LockError, SpecError, SpecNotFoundError
from thoth_models_builder.net.redact import without_stated_secrets
from thoth_models_builder.spec.lockfile import Lock
from thoth_models_builder.spec.models_yaml import json_schema, parse_spec
from thoth_models_builder.storage.files import open_regular

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models_builder.spec.models_yaml import Spec

_MAX_INPUT_SIZE = 64 * 1024 * 1024
"""Maximum bytes to read of a specification or lock; the parsers refuse longer ones."""
_PIECE = 1024 * 1024


def schema() -> str:
    """Return the JSON Schema of models.yaml as the text of models.schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def as_shown(text: str) -> str:
    """Return a text as it is shown: without the secrets of the environment, and with hidden characters as escapes."""
    return escaped(without_stated_secrets(text))


def read_spec(file: Path) -> Spec:
    """Read and parse a specification.

    Raises:
        SpecNotFoundError: The file does not exist.
        SpecError: The file cannot be read, or has errors.
    """
    return parse_spec(read_spec_bytes(file), str(file))


def read_spec_bytes(file: Path) -> bytes:
    """Return the bytes of a specification.

    Raises:
        SpecNotFoundError: The file does not exist.
        SpecError: The file cannot be read.
    """
    try:
        return read_bounded(file)
    except FileNotFoundError as error:
        message = "expected the list of models to ship, found no such file"
        raise SpecNotFoundError(str(file), [Finding(line=None, path="", message=message)]) from error
    except OSError as error:
        finding = Finding(line=None, path="", message=f"expected a readable file, found: {error.strerror}")
        raise SpecError(str(file), [finding]) from error


def read_lock(file: Path) -> Lock:
    """Read and parse a lock.

    Raises:
        LockError: The lock is missing, cannot be read, or is malformed.
    """
    return Lock.from_bytes(read_lock_bytes(file), str(file))


def read_lock_bytes(file: Path) -> bytes:
    """Return the bytes of a lock.

    Raises:
        LockError: The lock is missing or cannot be read.
    """
    try:
        return read_bounded(file)
    except OSError as error:
        raise LockError(f"{file}: expected a readable lock, found: {error.strerror}") from error


def existing_lock_bytes(file: Path) -> bytes | None:
    """Return the bytes of a lock, or None if there is none yet.

    Raises:
        LockError: The lock cannot be read.
    """
    try:
        return read_lock_bytes(file)
    except LockError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def read_bounded(file: Path) -> bytes:
    """Return the bytes of an input file, up to a size that the parsers refuse.

    Raises:
        OSError: The file does not exist, cannot be read, or is not a regular file.
    """
    data = b""
    with open_regular(file) as opened:
        # In pieces: one read of the largest size needs so much memory for a file of a few lines.
        while piece := opened.read(min(_PIECE, _MAX_INPUT_SIZE + 1 - len(data))):
            data += piece
    return data
