"""Turn what a Docker engine saves into an image layout: the old docker-archive, and the archive of newer engines.

Both hold a ``manifest.json`` that names the configuration and the layers, whatever else is in them. The OCI manifest
written from it is the same for both, so that one image gives one layout. Each layer is compared with the ``diff_ids``
of the configuration, which identify its content whether it is compressed or not.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import shutil
import tarfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thoth_models.bundle.digest import READ_SIZE, Digest
from thoth_models_builder.errors import EngineError, OutputError
from thoth_models_builder.oci.descriptors import (
    MAX_DOCUMENT_SIZE,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
)
from thoth_models_builder.oci.image_config import document_descriptor, encode
from thoth_models_builder.oci.layout_files import MARKER, blob_path, unwritable, write_blob, write_index
from thoth_models_builder.storage.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_MAX_LINKS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stored:
    """A file of an archive, in its temporary place."""

    path: Path
    digest: Digest
    size: int


class _ByteReader:
    """Gives tarfile a stream of bytes to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes, or fewer where the stream ends."""
        gathered = [self._rest]
        length = len(self._rest)
        while length < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            gathered.append(piece)
            length += len(piece)
        data = b"".join(gathered)
        self._rest = data[size:]
        return data[:size]


def write_layout(pieces: Iterator[bytes], layout: Path, name: str) -> Digest:
    """Write the image of an archive as an OCI image layout, in one pass over the archive.

    Args:
        pieces: The archive.
        layout: A new or empty directory.
        name: What messages call the image.

    Returns:
        The digest of the manifest, which is the one entry of index.json.

    Raises:
        EngineError: The archive is cut, or holds something else than one image, or a layer has another digest.
        OutputError: The layout cannot be written.
    """
    spool = layout / ".incoming"
    try:
        layout.mkdir(parents=True, exist_ok=True)
        if any(layout.iterdir()):
            raise OutputError(f"{layout}: expected an empty directory for an image layout, found other files")
        spool.mkdir()
        try:
            (layout / "blobs" / "sha256").mkdir(parents=True)
            files = _unpack(pieces, spool, name)
            return _Image(layout=layout, files=files, name=name).write()
        finally:
            shutil.rmtree(spool, ignore_errors=True)
    except OSError as error:
        raise unwritable(layout, error) from error


def _unpack(pieces: Iterator[bytes], spool: Path, name: str) -> dict[str, _Stored]:
    """Write each file of an archive under a number, never under its own name, and resolve links to those files."""
    files: dict[str, _Stored] = {}
    links: dict[str, str] = {}
    try:
        # The type stubs ask for a whole file; reading a stream needs this one method.
        with tarfile.open(fileobj=_ByteReader(pieces), mode="r|", bufsize=READ_SIZE) as archive:  # type: ignore[call-overload]
            for entry in archive:
                path = posixpath.normpath(entry.name)
                if entry.isreg():
                    files[path] = _store(archive, entry, spool / str(len(files)))
                elif entry.issym():
                    links[path] = posixpath.normpath(posixpath.join(posixpath.dirname(path), entry.linkname))
                elif entry.islnk():
                    links[path] = posixpath.normpath(entry.linkname)
    except (tarfile.TarError, EOFError) as error:
        raise EngineError(f"{name}: expected a whole archive from the engine, found {error}") from error
    for path in links:
        target = path
        for _ in range(_MAX_LINKS):
            target = links.get(target, target)
        if target in files:
            files[path] = files[target]
    return files


def _store(archive: tarfile.TarFile, entry: tarfile.TarInfo, path: Path) -> _Stored:
    hasher = hashlib.sha256()
    content = archive.extractfile(entry)
    if content is None:
        raise tarfile.ReadError(f"no content for {entry.name!r}")
    size = 0
    with path.open("wb") as target:
        while data := content.read(READ_SIZE):
            hasher.update(data)
            target.write(data)
            size += len(data)
    if size != entry.size:
        raise tarfile.ReadError(f"{size} of {entry.size} bytes of {entry.name!r}")
    return _Stored(path=path, digest=Digest(hasher.hexdigest()), size=size)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Image:
    """One image on its way from unpacked files to a layout."""

    layout: Path
    files: dict[str, _Stored]
    name: str

    def write(self) -> Digest:
        listed = self._json("manifest.json")
        if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], dict):
            raise self._wrong("manifest.json: expected a list of one image, found something else")
        config_file = self._file(listed[0].get("Config"), "configuration")
        config = self._json(str(listed[0]["Config"]))
        layers = listed[0].get("Layers")
        diff_ids = config.get("rootfs", {}).get("diff_ids") if isinstance(config, dict) else None
        if not isinstance(layers, list) or not isinstance(diff_ids, list):
            raise self._wrong("expected lists of layers and of their digests, found something else")
        if len(layers) != len(diff_ids):
            raise self._wrong(f"expected {len(diff_ids)} layers, as its configuration says, found {len(layers)}")
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self._keep(config_file, OCI_CONFIG).as_json(),
            "layers": [self._layer(path, diff_id).as_json() for path, diff_id in zip(layers, diff_ids, strict=True)],
        }
        data = encode(manifest)
        write_blob(self.layout, data)
        platform = {
            key: config[key]
            for key in ("architecture", "os", "variant")
            if isinstance(config.get(key), str) and config[key]
        }
        entry = document_descriptor(data, OCI_MANIFEST, platform)
        replace_file(self.layout / "oci-layout", MARKER)
        write_index(self.layout, [entry])
        return entry.digest

    def _layer(self, path: object, diff_id: object) -> Descriptor:
        """Compare one layer with its digest and move it into the layout unchanged."""
        stored = self._file(path, "layer")
        if f"sha256:{stored.digest}" == diff_id:
            return self._keep(stored, OCI_LAYER)
        place = self._path_of(stored)
        with place.open("rb") as file:
            start = file.read(len(_ZSTD))
        if start == _ZSTD:
            raise self._wrong(f"layer {path}: expected it plain or in gzip, which can be compared, found zstd")
        is_gzip = start.startswith(_GZIP)
        found = _digest_within(place) if is_gzip else stored.digest
        if f"sha256:{found}" != diff_id:
            raise self._wrong(f"layer {path}: expected {diff_id!r:.100}, found sha256:{found}")
        return self._keep(stored, f"{OCI_LAYER}+gzip")

    def _file(self, path: object, what: str) -> _Stored:
        stored = self.files.get(posixpath.normpath(path)) if isinstance(path, str) else None
        if stored is None:
            raise self._wrong(f"expected the {what} {path!r:.200}, found no such file")
        return stored

    def _json(self, path: str) -> Any:  # noqa: ANN401 - any JSON value
        stored = self._file(path, "file")
        if stored.size > MAX_DOCUMENT_SIZE:
            raise self._wrong(f"{path}: expected at most {MAX_DOCUMENT_SIZE} bytes, found {stored.size}")
        try:
            return json.loads(self._path_of(stored).read_bytes())
        except (ValueError, RecursionError) as error:
            raise self._wrong(f"{path}: expected JSON, found something else") from error

    def _keep(self, stored: _Stored, media_type: str) -> Descriptor:
        """Move a file to its place among the blobs, unless the same content is there already."""
        place = blob_path(self.layout, stored.digest)
        if not place.exists():
            stored.path.replace(place)
        return Descriptor(media_type=media_type, digest=stored.digest, size=stored.size)

    def _path_of(self, stored: _Stored) -> Path:
        """Return where a file is now: an image may list the same layer twice, and the first use moves it."""
        return stored.path if stored.path.exists() else blob_path(self.layout, stored.digest)

    def _wrong(self, message: str) -> EngineError:
        return EngineError(f"{self.name}: archive of the engine: {message}")


def _digest_within(path: Path) -> Digest:
    """Return the digest of the content of a gzip file; zeros, which match no layer, if it is not a gzip file."""
    hasher = hashlib.sha256()
    decompressor = zlib.decompressobj(wbits=31)
    try:
        with path.open("rb") as file:
            while data := file.read(READ_SIZE):
                while data:
                    hasher.update(decompressor.decompress(data, READ_SIZE))
                    data = decompressor.unconsumed_tail
                    if decompressor.eof and decompressor.unused_data:
                        # Another member, as parallel compressors write them.
                        data, decompressor = decompressor.unused_data, zlib.decompressobj(wbits=31)
        hasher.update(decompressor.flush())
    except zlib.error:
        return Digest("0" * 64)
    return Digest(hasher.hexdigest())
