"""The protocol of a source: it lists its files and delivers their bytes into sinks. Pure.

A source knows neither the store behind a sink nor the other sources. The sink compares the bytes with the lock and
accepts or refuses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from thoth_models.bundle.digest import ContentDigest, Digest
    from thoth_models_builder.errors import SourceError


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFile:
    """One file, as a source or a lock describes it.

    Attributes:
        path: Path relative to the model's directory.
        size: Length in bytes, or None if it is not known yet.
        sha256: Digest, or None if it is not known yet.
        blob_id: git blob id, or None.
    """

    path: str
    size: int | None = None
    sha256: Digest | None = None
    blob_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """The files of a source.

    Attributes:
        revision: Commit that the files belong to, where the kind has commits.
        license: The licence as published, or None.
        files: All files, in any order.
        license_link: Where the text of a licence is that the Hub does not know: an address, a path, or None.
    """

    revision: str | None
    license: str | None
    files: tuple[RemoteFile, ...]
    license_link: str | None = None


class Sink(Protocol):
    """Receives the bytes of one file."""

    @property
    def offset(self) -> int:
        """Number of bytes kept from an interrupted attempt."""
        ...

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes; raises SourceError if the file gets longer than expected."""
        ...

    def restart(self) -> None:
        """Discard all bytes."""
        ...

    def finish(self) -> ContentDigest:
        """Accept the bytes; raises WrongContentError or SourceError if they are not the expected ones."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A file that a source did not deliver, and the reason."""

    file: RemoteFile
    error: SourceError


class Source(Protocol):
    """One place that files may come from."""

    @property
    def label(self) -> str:
        """Name of the source in messages, without secrets."""
        ...

    def list_files(self) -> Listing:
        """Return the files of the source.

        Raises:
            SourceError: The source cannot list them.
        """
        ...

    def read_beginning(self, file: RemoteFile, size: int) -> bytes:
        """Return the first ``size`` bytes of a file, or all bytes of a shorter one, without its digest being checked.

        Raises:
            SourceError: The source does not deliver them.
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
