"""Write a docker-archive, the format of ``docker load`` that every engine supports; the bytes are deterministic.

By https://github.com/moby/docker-image-spec/blob/main/v1.2.md: ``manifest.json`` names the configuration and the
layers. The archive is streamed without temporary files: layers come first, and the configuration with their digests
after them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thoth_models.bundle.digest import READ_SIZE, Digest
from thoth_models_builder.errors import LayoutError
from thoth_models_builder.oci import tar_headers as tar
from thoth_models_builder.oci.image_config import encode
from thoth_models_builder.oci.layer_stream import LayerStream
from thoth_models_builder.storage.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from thoth_models_builder.oci.descriptors import Descriptor
    from thoth_models_builder.oci.layers import Layer
    from thoth_models_builder.oci.references import Reference

_MANIFEST, _REPOSITORIES = "manifest.json", "repositories"
_OTHER_FILES = 16 * 1024
"""Upper bound for the size of the small files besides the configuration, in bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredLayer:
    """A layer that is a blob of a layout.

    Attributes:
        path: Path of the blob.
        descriptor: Descriptor that the blob must match.
        name: Name in the archive, which does not depend on whether the layer was stored.
    """

    path: Path
    descriptor: Descriptor
    name: str

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.descriptor.size


Part = StoredLayer | LayerStream


def stream_archive(
    parts: Sequence[Part], finish: Callable[[list[Digest]], bytes], reference: Reference, *, mtime: int
) -> Iterator[bytes | memoryview]:
    """Yield an archive with one image; a piece is valid until the next one is requested.

    Args:
        parts: Layers, lowest first.
        finish: Returns the configuration, given the digests of all layers.
        reference: Name of the image.
        mtime: Time of every entry, in seconds since 1970.

    Raises:
        VerificationError: A file changed since it was verified.
        LayoutError: A blob does not match its digest.
    """
    names: list[str] = []
    digests: list[Digest] = []
    for part in parts:
        name = _name(part)
        if name not in names:  # the same layer twice is one file
            yield tar.header(_file(name, part.size), mtime)
            yield from part if isinstance(part, LayerStream) else _blob(part)
            yield tar.padding(part.size)
        names.append(name)
        digests.append(_digest(part))
    config = finish(digests)
    top = names[-1].partition("/")[0]
    repository, tag = familiar_name(reference)
    config_name = f"{Digest.of(config)}.json"
    documents = {
        config_name: config,
        _MANIFEST: encode([{"Config": config_name, "RepoTags": [f"{repository}:{tag}"], "Layers": names}]),
        _REPOSITORIES: encode({repository: {tag: top}}),
    }
    for name, data in documents.items():
        yield tar.header(_file(name, len(data)), mtime)
        yield data
        yield tar.padding(len(data))
    yield tar.END


def familiar_name(reference: Reference) -> tuple[str, str]:
    """Return repository and tag in the short form of Docker, which omits its own registry."""
    full = str(reference.with_tag(None))
    short = full.removeprefix("docker.io/")
    return full if short == full else short.removeprefix("library/"), reference.tag or "latest"


def largest_size(sizes: Sequence[int], config_size: int) -> int:
    """Return an upper bound for the size of an archive with such layers, in bytes."""
    files = [_file("x" * 80, size) for size in (*sizes, config_size)]
    return tar.archive_size(files) + _OTHER_FILES


def _file(name: str, size: int) -> tar.Entry:
    return tar.Entry(path=name, size=size, mode=tar.FILE_MODE)


def layer_name(layer: Layer) -> str:
    """Return the name of a layer in the archive, which is known before its digest."""
    return f"{layer.input_digest}/layer.tar"


def _name(part: Part) -> str:
    return layer_name(part.layer) if isinstance(part, LayerStream) else part.name


def _digest(part: Part) -> Digest:
    if isinstance(part, StoredLayer):
        return part.descriptor.digest
    if part.digest is None:
        raise RuntimeError("the stream of a layer ended without a digest")
    return part.digest


def _blob(part: StoredLayer) -> Iterator[bytes]:
    found = hashlib.sha256()
    expected = part.descriptor
    try:
        with open_regular(part.path) as file:
            left = expected.size
            while data := file.read(min(READ_SIZE, left)):
                found.update(data)
                left -= len(data)
                yield data
    except OSError as error:
        raise LayoutError(f"{part.path}: expected a blob of {expected.size} bytes, found {error.strerror}") from error
    if left or found.hexdigest() != expected.digest.hex:
        digest = f"{expected.size - left} bytes, sha256 {found.hexdigest()}"
        raise LayoutError(f"{part.path}: expected {expected.size} bytes, sha256 {expected.digest}, found {digest}")
