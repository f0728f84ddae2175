"""Writing an image of ours into an image layout on disk: each layer once, under the name of its digest.

A layout holds one image of ours, which the next one replaces. Layers that are the same stay as they are, after each of
their bytes was compared again. The old image is whole until the new ``index.json`` is there; what only the old one
needed is removed after that.

Layers are not forced to the disk: everybody who reads a blob compares its digest, so a machine that loses its power
costs another run, never an image that is wrong. ``index.json`` is.
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

from thoth_models.digest import READ_SIZE, Digest
from thoth_models_builder.errors import LayoutError, OutputError
from thoth_models_builder.files import FILE_MODE, link_or_copy, open_regular
from thoth_models_builder.oci.descriptors import Descriptor, children, parse_document
from thoth_models_builder.oci.image import BUNDLE_DIGEST
from thoth_models_builder.oci.layers import LAYER_RECIPE
from thoth_models_builder.oci.stored import (
    blob_path,
    prepare_layout,
    read_document,
    read_index,
    unwritable,
    write_blob,
    write_index,
)
from thoth_models_builder.oci.streams import LayerStream, packed_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from thoth_models_builder.oci.layers import Layer

_PARTIAL = ".writing-"
_REMOVABLE = re.compile(r"[0-9a-f]{64}|\..*", re.ASCII | re.DOTALL)


@contextlib.contextmanager
def claim(layout: Path) -> Iterator[None]:
    """Be the only one that writes a layout, which is made where there is none.

    Raises:
        OutputError: Something else is there, or an image that is not ours, or somebody else is writing it.
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
        raise OutputError(f"expected an image layout of ours or an empty directory: {error}") from error
    for entry in entries:
        if BUNDLE_DIGEST not in entry.annotations:
            raise OutputError(
                f"{layout}/index.json: expected images of a bundle only, which are replaced, found {entry.digest}, "
                f"which has no annotation {BUNDLE_DIGEST}"
            )


def find_layers(layout: Path, layers: Iterable[Layer]) -> dict[Digest, Digest]:
    """Return those layers that a layout has already: the digest of the blob by recipe.

    Where to look is what the image in the layout says; every byte found there is compared.
    """
    try:
        claimed = {
            entry.annotations[LAYER_RECIPE]: entry.digest
            for entry in _reachable(layout)
            if LAYER_RECIPE in entry.annotations
        }
    except (LayoutError, OutputError):
        return {}  # damaged: it is written anew
    found = {}
    for layer in layers:
        digest = claimed.get(layer.recipe.hex)
        if digest is not None and packed_digest(blob_path(layout, digest), layer) == digest:
            found[layer.recipe] = digest
    return found


def _reachable(layout: Path) -> Iterator[Descriptor]:
    """Yield everything that the images of a layout consist of.

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
    """Write a layer and return its digest, which is found on the way.

    Args:
        layout: A layout that is claimed.
        layer: What to write.
        advance: Told of the bytes that were written.

    Raises:
        VerificationError: A file changed since it was verified; nothing was kept.
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
    """Copy a blob from another layout, and compare it with its digest on the way.

    Raises:
        LayoutError: It is missing there, or has other bytes.
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
    """Give a blob that was written or compared just now a second name in another layout; copy it where that fails.

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
    """Write documents, each after those that it names, then index.json; return their digests. What is there stays.

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
    """Remove the blobs of a claimed layout that its image does not consist of, and return their bytes together.

    Raises:
        OutputError: One cannot be removed.
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
    """Make an empty directory on the same disk as a claimed layout, until it is not needed any more.

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
    """Open a file for a blob; it gets its name when that is known, and is removed if it never is."""
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
        Path(name).unlink(missing_ok=True)


def _write(layout: Path, descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        raise unwritable(layout, error) from error
