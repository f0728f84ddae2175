"""An object for the tests of the store, and what they do to its files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from thoth_models.bundle.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from thoth_models_builder.storage.store import Store

NAME = "model.safetensors"
DATA = bytes(range(256)) * 1000
DIGEST = Digest.of(DATA)
HALF = len(DATA) // 2
LONG_AGO = 1_000_000_000


def put(store: Store, data: bytes = DATA) -> Path:
    digest = Digest.of(data)
    with store.writer(NAME, digest=digest, size=len(data)) as writer:
        writer.restart()
        writer.write(data)
        writer.finish()
    return store.path(digest)


def leave_partial(store: Store, data: bytes, digest: Digest = DIGEST) -> Path:
    store.prepare()
    partial = store.root / "partial" / digest.hex
    partial.write_bytes(data)
    return partial


def age(path: Path) -> None:
    os.utime(path, (LONG_AGO, LONG_AGO))


def leftovers(store: Store) -> list[Path]:
    return sorted((store.root / "partial").iterdir())


class InterruptedWriteError(Exception):
    """Stands for whatever ends a transfer early."""


def interrupted_write(store: Store, data: bytes, digest: Digest | None = DIGEST) -> None:
    with store.writer(NAME, digest=digest, size=len(DATA)) as writer:
        writer.restart()
        writer.write(data)
        raise InterruptedWriteError


def fail_with(number: int) -> Callable[..., Any]:
    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number), "somewhere")

    return fail
