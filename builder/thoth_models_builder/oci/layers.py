"""Decide which file of a bundle goes into which layer of an image. Pure.

One layer per model and variant, one per model for files that do not belong to exactly one variant, and a small one on
top with the manifest and the checksum list. So a change of one model changes its own layers and the top one. The
signature of a bundle, its attestations, and what says whose signatures a service accepts have layers of their own above
that, so that signing changes no other.

Layers are sorted by name: the order changes only when models are added, removed or renamed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from thoth_models.bundle.digest import Digest
from thoth_models.bundle.manifest import CHECKSUMS_NAME, MANIFEST_NAME
from thoth_models_builder.errors import UsageError
from thoth_models_builder.oci import tar_headers as tar
from thoth_models_builder.oci.descriptors import OCI_LAYER, Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from thoth_models.bundle.manifest import Manifest

LAYER_NAME = "thoth-models.layer"
LAYER_INPUT_DIGEST = "thoth-models.input-digest"
"""Annotations of a layer: its name, and a digest of everything that its bytes depend on."""

DEFAULT_ROOT = "/models"
RUNTIME_ROOT = "/models-runtime"
OPAQUE = ".wh..wh..opq"
"""Name by which a layer removes all that layers below it have in the same directory, of which no image has a file:
https://github.com/opencontainers/image-spec/blob/main/layer.md."""

TRUST_ROOT = "/etc/thoth-models/trust"
"""Outside of the bundle, where a volume that is mounted over the bundle does not hide it."""


_INPUT_VERSION = 1

_NOT_OURS = frozenset(
    ("bin", "boot", "dev", "lib", "lib32", "lib64", "libx32", "proc", "root", "run", "sbin", "sys", "tmp")
) | {"var/lock", "var/run", "var/tmp"}
"""Directories of a system that are links, have special modes, or are mounted over."""
_ABOVE_ROOT_MODE = 0o755
"""Mode of the directories above the root of a bundle: a base image has them too, and writes to them."""

Kind = Literal["variant", "shared", "index", "runtime", "signature", "attestations", "trust"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A part of a file.

    Attributes:
        path: The file.
        offset: Start of the part, in bytes.
    """

    path: Path
    offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerFile:
    """A file of a layer.

    Attributes:
        path: Path in the layer.
        size: Length in bytes.
        sha256: Digest of the content.
        origin: File or part of a file to read the content from, or the content itself.
    """

    path: str
    size: int
    sha256: Digest
    origin: Path | Segment | bytes

    @classmethod
    def of(cls, path: str, data: bytes) -> LayerFile:
        """Return a file whose content is in memory."""
        return cls(path=path, size=len(data), sha256=Digest.of(data), origin=data)


@dataclass(frozen=True, kw_only=True)  # without slots, for the cached properties
class Layer:
    """A layer that is to be written.

    Attributes:
        name: Name in messages and annotations, such as ``mini/onnx-fp32``.
        kind: Files of one ``variant``, files ``shared`` by variants of a model or used by none, the bundle's ``index``
            (manifest and checksum list), the ``runtime``, the ``signature`` or ``attestations`` beside the bundle, or
            whose signatures to ``trust``.
        directory: The deepest directory that contains all files; the path of a file that lies in the root.
        files: Sorted by path.
        directories: Mode of each directory above the files, by path.
        mtime: Time of every entry, in seconds since 1970.
    """

    name: str
    kind: Kind
    directory: str
    files: tuple[LayerFile, ...]
    directories: Mapping[str, int]
    mtime: int

    def entries(self) -> Iterator[tuple[tar.Entry, LayerFile | None]]:
        """Yield every entry in order, with its file if it is one; a directory precedes its content."""
        by_path: dict[str, tuple[tar.Entry, LayerFile | None]] = {
            path: (tar.Entry(path=path, size=None, mode=mode), None) for path, mode in self.directories.items()
        }
        for file in self.files:
            by_path[file.path] = (tar.Entry(path=file.path, size=file.size, mode=tar.FILE_MODE), file)
        for path in sorted(by_path):
            yield by_path[path]

    @cached_property
    def size(self) -> int:
        """Length of the layer in bytes."""
        return tar.archive_size(entry for entry, _ in self.entries())

    @cached_property
    def input_digest(self) -> Digest:
        """Digest of everything that the bytes of the layer depend on, known before the layer is written."""
        entries = [
            [entry.path, entry.mode, None if file is None else [file.size, file.sha256.hex]]
            for entry, file in self.entries()
        ]
        document = {"version": _INPUT_VERSION, "mtime": self.mtime, "entries": entries}
        return Digest.of(json.dumps(document, separators=(",", ":"), sort_keys=True).encode())

    def packed_in(self, archive: Path) -> Layer:
        """Return the same layer, with the content of its files read from an archive of the layer."""
        offset, files = 0, []
        for entry, file in self.entries():
            if file is not None:
                place = offset + entry.packed_size - file.size - len(tar.padding(file.size))
                origin = Segment(path=archive, offset=place)
                files.append(replace(file, origin=origin))
            offset += entry.packed_size
        return replace(self, files=tuple(files))


def bundle_layers(manifest: Manifest, bundle: Path, *, root: str, mtime: int) -> tuple[Layer, ...]:
    """Return the layers of a bundle, lowest first.

    Args:
        manifest: Manifest of the bundle.
        bundle: Directory of the bundle.
        root: Absolute path of the bundle in an image.
        mtime: Time of every entry, in seconds since 1970.

    Raises:
        UsageError: ``root`` is not a plain absolute path.
    """
    top = image_path(root)
    owners: dict[str, set[tuple[str, str]]] = {path: set() for path in manifest.files}
    for model in manifest.models.values():
        for variant in () if model.built is None else model.built.variants:
            for path in variant.files:
                owners[path].add((model.name, variant.name))
    groups: dict[tuple[str, ...], list[LayerFile]] = {}
    for path, content in manifest.files.items():
        owner = owners[path]
        # A tuple of one sorts before those of two that begin with it.
        key = next(iter(owner)) if len(owner) == 1 else (path.partition("/")[0],)
        file = LayerFile(path=f"{top}/{path}", size=content.size, sha256=content.sha256, origin=bundle / path)
        groups.setdefault(key, []).append(file)
    layers = [
        _layer("/".join(key), "variant", files, top, mtime)
        if len(key) > 1
        else _layer(f"{key[0]}/shared", "shared", files, top, mtime)
        for key, files in sorted(groups.items())
    ]
    index = [
        LayerFile.of(f"{top}/{MANIFEST_NAME}", manifest.to_bytes()),
        LayerFile.of(f"{top}/{CHECKSUMS_NAME}", manifest.checksums()),
    ]
    return (*layers, _layer("manifest", "index", index, top, mtime))


def runtime_layer(files: Iterable[LayerFile], *, mtime: int) -> Layer:
    """Return the layer of wheels; the paths of ``files`` are their names."""
    top = image_path(RUNTIME_ROOT)
    placed = [replace(file, path=f"{top}/{file.path}") for file in files]
    return _layer("runtime", "runtime", placed, top, mtime)


def layer_beside(
    kind: Literal["signature", "attestations"], data: bytes, suffix: str, *, root: str, mtime: int
) -> Layer:
    """Return the layer of a file beside the bundle at ``root``, where it is looked for.

    Args:
        kind: What the file is.
        data: Its bytes.
        suffix: What its name has after that of the bundle's directory.
        root: Absolute path of the bundle in an image.
        mtime: Time of every entry, in seconds since 1970.
    """
    top = image_path(root)
    return _layer(kind, kind, [LayerFile.of(f"{top}{suffix}", data)], top, mtime)


def trust_layer(files: Mapping[str, bytes], *, mtime: int) -> Layer:
    """Return the layer of keys, certificates and identities, given the content of each file by its name.

    It also removes what the base has in their place, such as an image of the same bundle that trusts an older key:
    whom that trusts would be trusted as well.
    """
    top = image_path(TRUST_ROOT)
    placed = [LayerFile.of(f"{top}/{name}", data) for name, data in {**files, OPAQUE: b""}.items()]
    return _layer("trust", "trust", placed, top, mtime)


def layer_descriptor(layer: Layer, digest: Digest) -> Descriptor:
    """Return the descriptor of a layer, given the digest of its archive."""
    annotations = {LAYER_NAME: layer.name, LAYER_INPUT_DIGEST: layer.input_digest.hex}
    return Descriptor(media_type=OCI_LAYER, digest=digest, size=layer.size, annotations=annotations)


def image_path(root: str) -> str:
    """Return the path of a bundle root as it is written in archives: without the leading slash.

    Raises:
        UsageError: The path is not absolute, is ``/`` or a system directory, or has ``.``, ``..`` or empty parts.
    """
    path = root.removeprefix("/")
    if path == root or any(part in ("", ".", "..") for part in path.split("/")) or not path.isprintable():
        raise UsageError(f"expected an absolute path below / as the bundle's root in the image, found {root!r}")
    # A layer has an entry for each directory above its files, which takes the place of what the base has there.
    if any(path == other or path.startswith(f"{other}/") for other in _NOT_OURS):
        raise UsageError(
            f"expected a root of the bundle outside of the directories that a system needs as they are, found {root!r}"
        )
    return path


def _layer(name: str, kind: Kind, files: list[LayerFile], top: str, mtime: int) -> Layer:
    ordered = tuple(sorted(files, key=lambda file: file.path))
    modes: dict[str, int] = {}
    for file in ordered:
        for parent in list(PurePosixPath(file.path).parents)[:-1]:
            path = str(parent)
            modes[path] = tar.DIRECTORY_MODE if path == top or path.startswith(f"{top}/") else _ABOVE_ROOT_MODE
    shared = [path for path in modes if all(file.path.startswith(f"{path}/") for file in ordered)]
    return Layer(
        name=name,
        kind=kind,
        directory=max(shared, key=len, default=ordered[0].path),
        files=ordered,
        directories=modes,
        mtime=mtime,
    )
