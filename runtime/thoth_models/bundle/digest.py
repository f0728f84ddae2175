"""The digest value type, and the hashing of open files: streaming, and in chunks on all cores.

Pure but for reading the file objects it is given. A file over :data:`CHUNKED_ABOVE` bytes also has the sha256 of each
:data:`CHUNK_SIZE` bytes recorded, so that one large file can be checked on all cores. hashlib releases the interpreter
while it hashes more than 2,047 bytes (https://docs.python.org/3/library/hashlib.html), so threads suffice.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_SIZE = 16 * 1024 * 1024
"""Bytes per chunk digest."""

CHUNKED_ABOVE = 64 * 1024 * 1024
"""Files larger than this many bytes carry chunk digests."""

READ_SIZE = 1024 * 1024
"""Bytes read at a time: large enough that system calls do not count, small enough that memory stays flat."""

_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, order=True, slots=True)
class Digest:
    """A sha256, as 64 lower-case hexadecimal digits; it cannot hold anything else.

    Raises:
        ValueError: ``hex`` is not 64 lower-case hexadecimal digits.
    """

    hex: str

    def __post_init__(self) -> None:
        """Refuse anything that is not a sha256 in its one canonical spelling."""
        if not _HEX.fullmatch(self.hex):
            raise ValueError(f"expected a sha256 of 64 lower-case hexadecimal digits, found {self.hex!r}")

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Return the digest of ``data``."""
        return cls(hashlib.sha256(data).hexdigest())

    def __str__(self) -> str:
        """Return the 64 digits."""
        return self.hex

    @property
    def short(self) -> str:
        """The first 12 digits, for tables and messages where the whole stands elsewhere."""
        return self.hex[:12]


@dataclass(frozen=True, kw_only=True, slots=True)
class ContentDigest:
    """What identifies the content of one file.

    Attributes:
        size: Length in bytes.
        sha256: Digest of the whole.
        chunks: Digest of each :data:`CHUNK_SIZE` bytes, in order; empty for files of at most :data:`CHUNKED_ABOVE`.
    """

    size: int
    sha256: Digest
    chunks: tuple[Digest, ...] = ()


class ContentHasher:
    """Hash a stream, whole and in chunks, in one pass.

    Args:
        expected_size: Length in bytes where it is known: a small file then skips the chunk digests that it will not
            need, which halves the work. A stream that turns out longer has no chunk digests, but it is also refused by
            whoever expected that size.
    """

    def __init__(self, expected_size: int | None = None) -> None:
        self._chunked = expected_size is None or expected_size > CHUNKED_ABOVE
        self._whole = hashlib.sha256()
        self._chunk = hashlib.sha256()
        self._chunk_filled = 0
        self._chunks: list[Digest] = []
        self.size = 0

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes of the stream."""
        view = memoryview(data)
        self._whole.update(view)
        self.size += len(view)
        while view and self._chunked:
            part = view[: CHUNK_SIZE - self._chunk_filled]
            self._chunk.update(part)
            self._chunk_filled += len(part)
            view = view[len(part) :]
            if self._chunk_filled == CHUNK_SIZE:
                self._end_chunk()

    def _end_chunk(self) -> None:
        self._chunks.append(Digest(self._chunk.hexdigest()))
        self._chunk = hashlib.sha256()
        self._chunk_filled = 0

    def finish(self) -> ContentDigest:
        """Return the digests of all that was taken; call it once, at the end."""
        if self._chunk_filled:
            self._end_chunk()
        chunks = tuple(self._chunks) if self.size > CHUNKED_ABOVE else ()
        return ContentDigest(size=self.size, sha256=Digest(self._whole.hexdigest()), chunks=chunks)


def hash_file(file: BinaryIO) -> ContentDigest:
    """Hash a real, open ``file`` from its start to its end, whole and in chunks, in one pass.

    Memory use does not depend on the length of the file.

    Raises:
        OSError: The file cannot be read.
    """
    hasher = ContentHasher(os.fstat(file.fileno()).st_size)
    buffer = bytearray(READ_SIZE)
    view = memoryview(buffer)
    # readinto is on every binary file of the io module, though BinaryIO does not declare it.
    readinto = file.readinto  # type: ignore[attr-defined]
    while count := readinto(buffer):
        hasher.update(view[:count])
    return hasher.finish()


def hash_range(descriptor: int, offset: int, length: int) -> Digest:
    """Hash ``length`` bytes at ``offset`` of an open file, without moving its position.

    A file that ends early gives the digest of what is there, which is then another one.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(min(READ_SIZE, max(length, 1))))
    end = offset + length
    while offset < end:
        count = os.preadv(descriptor, [buffer[: end - offset]], offset)
        if count == 0:
            break
        digest.update(buffer[:count])
        offset += count
    return Digest(digest.hexdigest())


def ranges(content: ContentDigest) -> Iterator[tuple[int, int, Digest]]:
    """Yield ``(offset, length, digest)`` of each part of a file that is checked on its own."""
    if not content.chunks:
        yield 0, content.size, content.sha256
        return
    for index, digest in enumerate(content.chunks):
        offset = index * CHUNK_SIZE
        yield offset, min(CHUNK_SIZE, content.size - offset), digest
