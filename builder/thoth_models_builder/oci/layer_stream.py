"""The bytes of a layer, in one pass: read, hashed as a file and as a part of the layer, and handed on.

The two hashes and whoever takes the bytes work at the same time, in threads: hashlib and the system calls do not hold
the interpreter. Memory use does not depend on the size of the files.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from thoth_models.digest import Digest
from thoth_models.errors import Problem, VerificationError
from thoth_models_builder.files import open_regular
from thoth_models_builder.oci import tar
from thoth_models_builder.oci.layers import Segment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models_builder.oci.layers import Layer, LayerFile

_PIECE: Final = 1024 * 1024
_PIECES: Final = 8
"""Buffers that go round: one is read into and one is written from while the hashes work on others."""


class LayerStream:
    """The bytes of a layer, to be taken once.

    A piece may be used until the next one is asked for.

    Attributes:
        layer: What it is.
        digest: Of the layer, once all of it was taken; None before.
    """

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self._whole = hashlib.sha256()
        self._buffers = [memoryview(bytearray(_PIECE)) for _ in range(_PIECES)]
        self._busy: list[list[Future[None]]] = [[] for _ in self._buffers]
        self._turn = 0
        self.digest: Digest | None = None

    @property
    def size(self) -> int:
        """Length of all in bytes."""
        return self.layer.size

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield headers and padding as bytes, content as views of memory.

        Raises:
            VerificationError: A file has another content than it had when it was verified.
        """
        with ThreadPoolExecutor(1) as whole, ThreadPoolExecutor(1) as single:
            for entry, file in self.layer.entries():
                yield self._hashed(whole, tar.header(entry, self.layer.mtime))
                if file is not None:
                    yield from self._content(file, whole, single)
                    yield self._hashed(whole, tar.padding(file.size))
            yield self._hashed(whole, tar.END)
        self.digest = Digest(self._whole.hexdigest())

    def _hashed(self, whole: ThreadPoolExecutor, data: bytes) -> bytes:
        whole.submit(self._whole.update, data)
        return data

    def _content(
        self, file: LayerFile, whole: ThreadPoolExecutor, single: ThreadPoolExecutor
    ) -> Iterator[bytes | memoryview]:
        content = hashlib.sha256()
        if isinstance(file.origin, bytes):
            content.update(file.origin)
            yield self._hashed(whole, file.origin)
        else:
            for piece, turn in self._read(file, file.origin):
                self._busy[turn] = [whole.submit(self._whole.update, piece), single.submit(content.update, piece)]
                yield piece
            single.submit(lambda: None).result()  # the last one is done when this one is
        found = Digest(content.hexdigest())
        if found != file.sha256:
            raise _changed(file, f"sha256 {file.sha256}", f"sha256 {found}")

    def _read(self, file: LayerFile, origin: Path | Segment) -> Iterator[tuple[memoryview, int]]:
        """Yield the content in pieces, each with the number of its buffer."""
        path, offset = (origin.path, origin.offset) if isinstance(origin, Segment) else (origin, 0)
        end = offset + file.size
        try:
            with open_regular(path) as opened:
                # A segment ends before its file does.
                if not isinstance(origin, Segment) and (size := os.fstat(opened.fileno()).st_size) != file.size:
                    raise _changed(file, f"{file.size} bytes", f"{size} bytes")
                while offset < end:
                    turn = self._turn = (self._turn + 1) % _PIECES
                    for update in self._busy[turn]:
                        update.result()
                    count = os.preadv(opened.fileno(), [self._buffers[turn][: end - offset]], offset)
                    if count == 0:
                        raise _changed(file, f"{file.size} bytes", f"{file.size - (end - offset)} bytes")
                    offset += count
                    yield self._buffers[turn][:count], turn
        except OSError as error:
            raise _changed(file, "a readable file", error.strerror or str(error)) from error


def packed_digest(archive: Path, layer: Layer) -> Digest | None:
    """Return the digest of an archive if it is this layer to the byte, else None."""
    stream = LayerStream(layer.packed_in(archive))
    position = 0
    try:
        with open_regular(archive) as file:
            if os.fstat(file.fileno()).st_size != layer.size:
                return None
            for piece in stream:
                # Content was read from the archive itself; what lies between is compared here.
                if isinstance(piece, bytes) and os.pread(file.fileno(), len(piece), position) != piece:
                    return None
                position += len(piece)
    except (OSError, VerificationError):
        return None
    return stream.digest


def _changed(file: LayerFile, expected: str, found: str) -> VerificationError:
    place = "" if isinstance(file.origin, bytes) else str(getattr(file.origin, "path", file.origin))
    problem = Problem(kind="changed", path=file.path, expected=expected, found=found)
    return VerificationError(f"{place}, packed after it was verified", [problem])
