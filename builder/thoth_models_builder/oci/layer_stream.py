"""Stream the bytes of a layer in one pass, hashing each file and the layer as a whole.

Both hashes are computed in threads while the consumer writes: hashlib and system calls release the interpreter lock.
Memory use does not depend on the size of the files.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial
from typing import TYPE_CHECKING, Final

from thoth_models.bundle.digest import Digest
from thoth_models.errors import Problem, VerificationError
from thoth_models.process.daemon_executor import DaemonExecutor
from thoth_models_builder.oci import tar_headers as tar
from thoth_models_builder.oci.layers import Segment
from thoth_models_builder.storage.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from thoth_models_builder.oci.layers import Layer, LayerFile

_PIECE: Final = 1024 * 1024
_PIECES: Final = 8
"""Buffers used in turn: one is read into and one written from while others are being hashed."""


class LayerStream:
    """The bytes of a layer, to be iterated over once.

    A piece is valid until the next one is requested.

    Attributes:
        layer: The layer.
        digest: Digest of the layer after the last piece; None before.
    """

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self._whole = hashlib.sha256()
        self._buffers = [memoryview(bytearray(_PIECE)) for _ in range(_PIECES)]
        self._busy: list[list[Future[None]]] = [[] for _ in self._buffers]
        self._turn = 0
        # Not ThreadPoolExecutor: SIGTERM raises in the main thread, and if that is within `submit`, a lock of the
        # executor stays taken, its thread waits for it, and the exit for that thread.
        self._of_whole = DaemonExecutor(1, "thoth-hash-layer")
        self._of_file = DaemonExecutor(1, "thoth-hash-file")
        self.digest: Digest | None = None

    @property
    def size(self) -> int:
        """Length of the layer in bytes."""
        return self.layer.size

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield headers and padding as bytes, and content as memory views.

        Raises:
            VerificationError: A file has changed since it was verified.
        """
        for entry, file in self.layer.entries():
            yield self._hashed(tar.header(entry, self.layer.mtime))
            if file is not None:
                yield from self._content(file)
                yield self._hashed(tar.padding(file.size))
        yield self._hashed(tar.END)
        self.digest = Digest(self._of_whole.submit(self._whole.hexdigest).result())

    def _hashed(self, data: bytes) -> bytes:
        self._of_whole.submit(partial(self._whole.update, data))
        return data

    def _content(self, file: LayerFile) -> Iterator[bytes | memoryview]:
        content = hashlib.sha256()
        if isinstance(file.origin, bytes):
            content.update(file.origin)
            yield self._hashed(file.origin)
        else:
            for piece, turn in self._read(file, file.origin):
                self._busy[turn] = [
                    self._of_whole.submit(partial(self._whole.update, piece)),
                    self._of_file.submit(partial(content.update, piece)),
                ]
                yield piece
        # In the thread, after all that were submitted before.
        found = Digest(self._of_file.submit(content.hexdigest).result())
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
    """Return the digest of an archive if every byte of it is that of this layer, else None."""
    stream = LayerStream(layer.packed_in(archive))
    position = 0
    try:
        with open_regular(archive) as file:
            if os.fstat(file.fileno()).st_size != layer.size:
                return None
            for piece in stream:
                # Content was read from the archive itself; headers and padding are compared here.
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
