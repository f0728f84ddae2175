"""Where a model's files may come from: one Protocol, one module per kind.

A source lists what it has and delivers bytes into sinks. It knows neither the store behind a sink nor the other
sources; what its bytes are worth is decided by the sink, which compares them with the lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from thoth_models.digest import ContentDigest, Digest
    from thoth_models_builder.errors import SourceError


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFile:
    """One file, as far as a source or a lock tells about it.

    Attributes:
        path: Path relative to the model's directory.
        size: Length in bytes, or None where it is not known yet.
        sha256: Digest, or None where it is not known yet.
        blob_id: git blob id, or None.
    """

    path: str
    size: int | None = None
    sha256: Digest | None = None
    blob_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """What a source has.

    Attributes:
        revision: Commit that the files belong to, where the kind has commits.
        license: As published, or None.
        files: In any order.
    """

    revision: str | None
    license: str | None
    files: tuple[RemoteFile, ...]


class Sink(Protocol):
    """Where the bytes of one file go."""

    @property
    def offset(self) -> int:
        """How many bytes there are already, from an attempt that was cut."""
        ...

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes; raises SourceError where there are too many."""
        ...

    def restart(self) -> None:
        """Forget all bytes."""
        ...

    def finish(self) -> ContentDigest:
        """Accept the bytes; raises WrongContentError or SourceError where they are not what was expected."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A file that a source did not deliver, and why."""

    file: RemoteFile
    error: SourceError


class Source(Protocol):
    """One place that files may come from."""

    @property
    def label(self) -> str:
        """What messages call it; carries no secret."""
        ...

    def list_files(self) -> Listing:
        """Return what is there.

        Raises:
            SourceError: It cannot be told.
        """
        ...

    def fetch(
        self, files: Sequence[RemoteFile], open_sink: Callable[[RemoteFile], AbstractContextManager[Sink]]
    ) -> list[Failure]:
        """Deliver each of ``files`` into the sink that ``open_sink`` gives for it.

        Returns:
            The files that were not delivered, each with the reason. Other errors than those of sources, such as a full
            disk, are raised.
        """
        ...
