"""Write the image of a bundle into an image layout on disk: each layer once, named by its digest.

A layout holds one such image, which the next one replaces. Layers that are the same are kept, after every byte of them
was compared again. The old image stays complete until the new ``index.json`` is written; blobs that only the old image
needs are removed after that.

Layers are not synced to the disk: every reader of a blob compares its digest, so after a power failure another run is
needed, but a wrong image is never used. ``index.json`` is synced.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from thoth_models.bundle.digest import READ_SIZE, Digest
from thoth_models_builder.errors import LayoutError, OutputError
from thoth_models_builder.oci.descriptors import Descriptor, children, parse_document
from thoth_models_builder.oci.image_config import BUNDLE_DIGEST
from thoth_models_builder.oci.layer_stream import LayerStream, packed_digest
from thoth_models_builder.oci.layers import LAYER_INPUT_DIGEST
from thoth_models_builder.oci.layout_files import (
    blob_path,
    prepare_layout,
    read_document,
    read_index,
    unwritable,
    write_blob,
    write_index,
)
from thoth_models_builder.storage.files import FILE_MODE, link_or_copy, open_regular, remove_leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from thoth_models_builder.oci.layers import Layer

_PARTIAL = ".writing-"
_REMOVABLE = re.compile(r"[0-9a-f]{64}|\..*", re.ASCII | re.DOTALL)


@contextlib.contextmanager
def claim(layout: Path) -> Iterator[None]:
    """Lock a layout for writing; create it if it does not exist.

    Raises:
        OutputError: The directory contains something else or the image of something else, or another process writes
            the layout.
    """
    prepare_layout(layout)
    try:
        descriptor = os.open(layout, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise unwritable(layout, error) from error
    try:
        _lock(layout, descriptor)
        _refuse_others(layout)
        _remove_leftovers(layout)
        yield
    finally:
        os.close(descriptor)


def _lock(layout: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(f"{layout}: expected to be its only writer, found another one at it") from error
    except OSError:
        pass  # a file system without locks


def _remove_leftovers(layout: Path) -> None:
    try:
        for name in ("oci-layout", "index.json"):
            remove_leftovers(layout / name)
        for leftover in layout.glob(f"{_PARTIAL}*"):
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            else:
                leftover.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(layout, error) from error


def _refuse_others(layout: Path) -> None:
    if (layout / "blobs").is_symlink() or (layout / "blobs" / "sha256").is_symlink():
        raise OutputError(f"{layout}: expected blobs of its own, which go when they are not needed, found a link")
    if not os.path.lexists(layout / "index.json"):
        return
    try:
        entries = read_index(layout)
    except LayoutError as error:
        raise OutputError(f"expected an empty directory or an image layout written by thoth-bundle: {error}") from error
    for entry in entries:
        if BUNDLE_DIGEST not in entry.annotations:
            raise OutputError(
                f"{layout}/index.json: expected images of a bundle only, which are replaced, found {entry.digest}, "
                f"which has no annotation {BUNDLE_DIGEST}"
            )


def find_layers(layout: Path, layers: Iterable[Layer]) -> dict[Digest, Digest]:
    """Return the layers that a layout has already: blob digests by input digest.

    The image in the layout names the candidates; every byte of each is compared.
    """
    try:
        claimed = {
            entry.annotations[LAYER_INPUT_DIGEST]: entry.digest
            for entry in _reachable(layout)
            if LAYER_INPUT_DIGEST in entry.annotations
        }
    except (LayoutError, OutputError):
        return {}  # damaged: all layers are written again
    found = {}
    for layer in layers:
        digest = claimed.get(layer.input_digest.hex)
        if digest is not None and packed_digest(blob_path(layout, digest), layer) == digest:
            found[layer.input_digest] = digest
    return found


def _reachable(layout: Path) -> Iterator[Descriptor]:
    """Yield the descriptors of everything that the images of a layout consist of.

    Raises:
        LayoutError: A document is missing or wrong.
    """
    if not (layout / "index.json").exists():
        return
    waiting, seen = read_index(layout), set()
    while waiting:
        entry = waiting.pop()
        if entry.digest in seen:
            continue
        seen.add(entry.digest)
        yield entry
        if entry.is_document:
            try:
                waiting += children(parse_document(read_document(layout, entry)), entry.media_type)
            except ValueError as error:
                raise LayoutError(f"{blob_path(layout, entry.digest)}: {error}") from error


def write_layer(layout: Path, layer: Layer, advance: Callable[[int], None]) -> Digest:
    """Write a layer and return its digest.

    Args:
        layout: A claimed layout.
        layer: The layer.
        advance: Called with the number of bytes after each write.

    Raises:
        VerificationError: A file changed since it was verified; nothing was written.
        OutputError: The layout cannot be written.
    """
    stream = LayerStream(layer)
    with _partial(layout) as (descriptor, place):
        for piece in stream:
            _write(layout, descriptor, piece)
            advance(len(piece))
        if stream.digest is None:
            raise RuntimeError("the stream of a layer ended without a digest")
        place(stream.digest)
    return stream.digest


def copy_blob(source: Path, layout: Path, descriptor: Descriptor, advance: Callable[[int], None]) -> None:
    """Copy a blob from another layout and compare its digest.

    Raises:
        LayoutError: The blob is missing there, or has another digest.
        OutputError: The layout cannot be written.
    """
    path = blob_path(source, descriptor.digest)
    found = hashlib.sha256()
    with _partial(layout) as (target, place):
        try:
            file = open_regular(path)
        except OSError as error:
            raise LayoutError(f"{path}: expected a blob of {descriptor.size} bytes, found {error.strerror}") from error
        with file:
            while data := file.read(READ_SIZE):
                found.update(data)
                _write(layout, target, data)
                advance(len(data))
        if found.hexdigest() != descriptor.digest.hex:
            raise LayoutError(f"{path}: expected sha256 {descriptor.digest}, found {found.hexdigest()}")
        place(descriptor.digest)


def share_blob(source: Path, layout: Path, digest: Digest) -> None:
    """Link a blob that this run wrote or compared into another layout; copy it where links are not possible.

    Raises:
        OutputError: The layout cannot be written.
    """
    path = blob_path(layout, digest)
    temporary = layout / f"{_PARTIAL}{digest.short}"
    try:
        if path.exists() and path.samefile(blob_path(source, digest)):
            return
        link_or_copy(blob_path(source, digest), temporary)
        temporary.replace(path)
    except OSError as error:
        raise unwritable(layout, error) from error


def write_image(layout: Path, documents: Iterable[bytes], entry: Descriptor) -> set[Digest]:
    """Write documents, then index.json, and return their digests. Files with the same content are not rewritten.

    Raises:
        OutputError: The layout cannot be written.
    """
    digests = set()
    for document in documents:
        digest = Digest.of(document)
        if not _is_there(blob_path(layout, digest), document):
            write_blob(layout, document)
        digests.add(digest)
    try:
        is_there = read_index(layout) == [entry]
    except LayoutError:
        is_there = False
    if not is_there:
        write_index(layout, [entry])
    return digests


def _is_there(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False


def prune(layout: Path, keep: Collection[Digest]) -> int:
    """Remove the blobs of a claimed layout that its image does not use, and return their total size.

    Raises:
        OutputError: A blob cannot be removed.
    """
    kept = {digest.hex for digest in keep}
    removed = 0
    try:
        for path in (layout / "blobs" / "sha256").iterdir():
            if path.name not in kept and _REMOVABLE.fullmatch(path.name):
                removed += path.lstat().st_size
                path.unlink()
    except OSError as error:
        raise unwritable(layout, error) from error
    return removed


@contextlib.contextmanager
def workspace(layout: Path) -> Iterator[Path]:
    """Create a temporary directory on the same disk as a claimed layout.

    Raises:
        OutputError: The layout cannot be written.
    """
    try:
        directory = tempfile.TemporaryDirectory(dir=layout, prefix=_PARTIAL)
    except OSError as error:
        raise unwritable(layout, error) from error
    with directory as name:
        yield Path(name)


@contextlib.contextmanager
def _partial(layout: Path) -> Iterator[tuple[int, Callable[[Digest], None]]]:
    """Open a temporary file for a blob, and yield it with a function that moves it to its digest."""
    try:
        descriptor, name = tempfile.mkstemp(dir=layout, prefix=_PARTIAL)
    except OSError as error:
        raise unwritable(layout, error) from error

    def place(digest: Digest) -> None:
        try:
            os.fchmod(descriptor, FILE_MODE)
            Path(name).replace(blob_path(layout, digest))
        except OSError as error:
            raise unwritable(layout, error) from error

    try:
        yield descriptor, place
    finally:
        os.close(descriptor)
        try:
            Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(layout, error) from error


def _write(layout: Path, descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        raise unwritable(layout, error) from error
