"""The digest value type, and the hashing of open files: streaming, and in chunks on all cores.

Pure, except that it reads the file objects it is given. For a file over :data:`CHUNKED_ABOVE` bytes, the sha256 of each
:data:`CHUNK_SIZE` bytes is recorded as well, so that one large file can be checked on all cores. Threads are enough for
that, because hashlib releases the interpreter lock while it hashes more than 2,047 bytes
(https://docs.python.org/3/library/hashlib.html).
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thoth_models.bundle.canonical_json import Node

CHUNK_SIZE = 16 * 1024 * 1024
"""Bytes per chunk digest."""

CHUNKED_ABOVE = 64 * 1024 * 1024
"""Files larger than this many bytes have chunk digests."""

READ_SIZE = 1024 * 1024
"""Bytes read at a time: large enough to make the cost of system calls negligible, small enough to save memory."""

_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, order=True, slots=True)
class Digest:
    """A sha256, as 64 lower-case hexadecimal digits; no other value is accepted.

    Raises:
        ValueError: ``hex`` is not 64 lower-case hexadecimal digits.
    """

    hex: str

    def __post_init__(self) -> None:
        """Refuse any value except a sha256 in its canonical form."""
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
        """The first 12 digits, for messages and tables where the whole digest is shown elsewhere."""
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

    def to_document(self) -> dict[str, object]:
        """Return the JSON value."""
        document: dict[str, object] = {"size": self.size, "sha256": self.sha256.hex}
        if self.chunks:
            document["chunks"] = {"size": CHUNK_SIZE, "sha256": [chunk.hex for chunk in self.chunks]}
        return document

    @classmethod
    def from_node(cls, node: Node) -> Self:
        """Read the JSON value.

        Raises:
            FormatError: The value is not a digest, or the number of chunks does not match the size.
        """
        keys = node.members("size", "sha256", optional=("chunks",))
        size = keys["size"].integer(minimum=0)
        chunks: tuple[Digest, ...] = ()
        if "chunks" in keys:
            chunk_keys = keys["chunks"].members("size", "sha256")
            chunk_keys["size"].one_of(CHUNK_SIZE)
            chunks = tuple(item.digest() for item in chunk_keys["sha256"].items())
        expected = -(-size // CHUNK_SIZE) if size > CHUNKED_ABOVE else 0
        if len(chunks) != expected:
            raise node.wrong(f"{expected} chunk digests for {size} bytes", found=f"{len(chunks)}")
        return cls(size=size, sha256=keys["sha256"].digest(), chunks=chunks)


class ContentHasher:
    """Hash a stream, whole and in chunks, in one pass.

    Args:
        expected_size: Length in bytes, if it is known. Chunk digests are then skipped for a small file, which halves
            the work. If the stream turns out to be longer, it has no chunk digests; the caller refuses it anyway,
            because of its length.
    """

    def __init__(self, expected_size: int | None = None) -> None:
        self._chunked = expected_size is None or expected_size > CHUNKED_ABOVE
        self._whole = hashlib.sha256()
        self._chunk = hashlib.sha256()
        self._chunk_filled = 0
        self._chunks: list[Digest] = []
        self.size = 0

    def update(self, data: bytes | memoryview) -> None:
        """Add the next bytes of the stream."""
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
        """Return the digests of all bytes that were added; call it once, at the end."""
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
    # Every binary file of the io module has readinto, though BinaryIO does not declare it.
    readinto = file.readinto  # type: ignore[attr-defined]
    while count := readinto(buffer):
        hasher.update(view[:count])
    return hasher.finish()


def hash_range(descriptor: int, offset: int, length: int) -> Digest:
    """Hash ``length`` bytes at ``offset`` of an open file, without moving its position.

    If the file ends early, the digest of the existing bytes is returned, which does not match.

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
    """Yield ``(offset, length, digest)`` of each part of a file that is checked separately."""
    if not content.chunks:
        yield 0, content.size, content.sha256
        return
    for index, digest in enumerate(content.chunks):
        offset = index * CHUNK_SIZE
        yield offset, min(CHUNK_SIZE, content.size - offset), digest
