"""Which file of a bundle goes into which layer of an image. Pure.

One layer per model and variant, one per model for what is not of exactly one variant, and a small one on top with the
manifest and the checksum list, which change with anything. So a change of one model changes its own layers and the top.

Layers are sorted by name, so that the order does not follow from anything that changes more often than the names of
models do: engines that name layers by all that lie below them fetch everything above a change again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from thoth_models.digest import Digest
from thoth_models.manifest import CHECKSUMS_NAME, MANIFEST_NAME
from thoth_models_builder.errors import UsageError
from thoth_models_builder.oci import tar
from thoth_models_builder.oci.descriptors import OCI_LAYER, Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from thoth_models.manifest import Manifest

LAYER_NAME = "thoth-models.layer"
LAYER_RECIPE = "thoth-models.recipe"
"""Annotations of a layer: what people call it, and what its bytes follow from."""

DEFAULT_ROOT = "/models"
RUNTIME_ROOT = "/models-runtime"

_RECIPE_VERSION = 1

_NOT_OURS = frozenset(
    ("bin", "boot", "dev", "lib", "lib32", "lib64", "libx32", "proc", "root", "run", "sbin", "sys", "tmp")
) | {"var/lock", "var/run", "var/tmp"}
"""Directories of a system that are links there, or that have modes of their own, or are mounted over."""
_ABOVE_ROOT_MODE = 0o755
"""Of the directories that a bundle's root lies in: a base image has them too, for others to write to."""

Kind = Literal["variant", "shared", "index", "runtime"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A part of a file.

    Attributes:
        path: The file.
        offset: Where the part begins.
    """

    path: Path
    offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerFile:
    """A file of a layer.

    Attributes:
        path: In the layer.
        size: Length in bytes.
        sha256: Of its content.
        origin: Where the content is to be read, or the content itself.
    """

    path: str
    size: int
    sha256: Digest
    origin: Path | Segment | bytes

    @classmethod
    def of(cls, path: str, data: bytes) -> LayerFile:
        """Return a file whose content is at hand."""
        return cls(path=path, size=len(data), sha256=Digest.of(data), origin=data)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A layer that is to be written.

    Attributes:
        name: What people call it, such as ``mini/onnx-fp32``.
        kind: Files of one ``variant``, files ``shared`` by variants of a model or used by none, the bundle's ``index``
            (manifest and checksum list), or the ``runtime``.
        directory: The deepest directory that has all of its files.
        files: Sorted by path.
        directories: Mode of each directory that has them, by path.
        mtime: Time of every entry, in seconds since 1970.
    """

    name: str
    kind: Kind
    directory: str
    files: tuple[LayerFile, ...]
    directories: Mapping[str, int]
    mtime: int

    def entries(self) -> Iterator[tuple[tar.Entry, LayerFile | None]]:
        """Yield every entry in its order, with the file it stands for; a directory precedes what is in it."""
        by_path: dict[str, tuple[tar.Entry, LayerFile | None]] = {
            path: (tar.Entry(path=path, size=None, mode=mode), None) for path, mode in self.directories.items()
        }
        for file in self.files:
            by_path[file.path] = (tar.Entry(path=file.path, size=file.size, mode=tar.FILE_MODE), file)
        for path in sorted(by_path):
            yield by_path[path]

    @property
    def size(self) -> int:
        """Length of the layer in bytes."""
        return tar.archive_size(entry for entry, _ in self.entries())

    @property
    def recipe(self) -> Digest:
        """Identity of all that the bytes of the layer follow from, known before it is written."""
        entries = [
            [entry.path, entry.mode, None if file is None else [file.size, file.sha256.hex]]
            for entry, file in self.entries()
        ]
        document = {"version": _RECIPE_VERSION, "mtime": self.mtime, "entries": entries}
        return Digest.of(json.dumps(document, separators=(",", ":"), sort_keys=True).encode())

    def packed_in(self, archive: Path) -> Layer:
        """Return the same layer, with the content of its files to be read from an archive of it."""
        offset, files = 0, []
        for entry, file in self.entries():
            if file is not None:
                place = offset + entry.packed_size - file.size - len(tar.padding(file.size))
                origin = Segment(path=archive, offset=place)
                files.append(replace(file, origin=origin))
            offset += entry.packed_size
        return replace(self, files=tuple(files))


def bundle_layers(manifest: Manifest, bundle: Path, *, root: str, mtime: int) -> tuple[Layer, ...]:
    """Return the layers of a bundle, the lowest first.

    Args:
        manifest: What it says of itself.
        bundle: Where its files are.
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


def layer_descriptor(layer: Layer, digest: Digest) -> Descriptor:
    """Return what an image's manifest says of a layer, given the digest of its archive."""
    annotations = {LAYER_NAME: layer.name, LAYER_RECIPE: layer.recipe.hex}
    return Descriptor(media_type=OCI_LAYER, digest=digest, size=layer.size, annotations=annotations)


def image_path(root: str) -> str:
    """Return a path in an image as archives have it: without the slash at its beginning.

    Raises:
        UsageError: It is not absolute, or is the root itself, or has ``.``, ``..`` or empty parts.
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
    return Layer(name=name, kind=kind, directory=max(shared, key=len), files=ordered, directories=modes, mtime=mtime)
