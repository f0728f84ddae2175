"""The wheels of an image: those that its base was installed from, and those that it has as files.

A base that is built like ours has ``/models-runtime/requirements.txt``, with the version and sha256 of each wheel that
pip installed, and nothing else, in Python's place (docker/runtime/Dockerfile). It is read from the layers of the base.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final

from thoth_models_builder.errors import LayoutError
from thoth_models_builder.oci.descriptors import platform_name
from thoth_models_builder.oci.layers import OPAQUE, RUNTIME_ROOT
from thoth_models_builder.oci.layout_files import blob_path
from thoth_models_builder.storage.files import open_regular
from thoth_models_builder.trust.bill.requirements import MAX_REQUIREMENTS, merged, parse_requirements, wheel_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from thoth_models_builder.oci.compose import Base
    from thoth_models_builder.oci.descriptors import Descriptor
    from thoth_models_builder.oci.layers import Layer
    from thoth_models_builder.trust.bill.requirements import Wheel
    from thoth_models_builder.watcher import Watcher

REQUIREMENTS: Final = f"{RUNTIME_ROOT}/requirements.txt".removeprefix("/")
"""Path in a layer of a base."""

_REMOVED: Final = ".wh."
"""Begins names by which a layer removes what is below it (https://github.com/opencontainers/image-spec/blob/main/layer.md)."""


def wheels_of_image(base: Base, layers: Sequence[Layer], watcher: Watcher) -> list[Wheel]:
    """Return the wheels of an image, each once; a note says of which platforms the installed ones are not known.

    Raises:
        LayoutError: A layer of the base is malformed.
    """
    files = [
        wheel
        for layer in layers
        if layer.kind == "runtime"
        for file in layer.files
        if (wheel := wheel_of(file.path.rpartition("/")[2], file.sha256)) is not None
    ]
    found: dict[str, Sequence[Wheel]] = {}
    for image in base.images:
        name = platform_name(image.platform)
        installed = None
        if base.layout is not None and image.layers:
            installed = _installed(base.layout, image.layers)
            if installed is None:
                watcher.note(f"{name}: no /{REQUIREMENTS} that can be read in the base: its wheels are not listed")
        found[name] = [*files, *(installed or ())]
    return merged(found)


def _installed(layout: Path, layers: Sequence[Descriptor]) -> list[Wheel] | None:
    data = _read(layout, layers)
    return None if data is None else parse_requirements(data)


def _read(layout: Path, layers: Sequence[Descriptor]) -> bytes | None:
    """Return the requirements of a base, from the highest layer that has them; None if none can be read."""
    for layer in reversed(layers):
        if layer.media_type.endswith("+zstd"):  # which Python 3.13 cannot read, and any layer may hide it
            return None
        path = blob_path(layout, layer.digest)
        try:
            with open_regular(path) as file:
                found = _in_layer(gzip.GzipFile(fileobj=file) if layer.media_type.endswith("+gzip") else file)
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise LayoutError(f"{path}: expected the archive of a layer, found another file ({error})") from error
        if found is not None:
            return found[0]
    return None


def _in_layer(content: BinaryIO | gzip.GzipFile) -> tuple[bytes | None] | None:
    """Return the requirements in a layer; a tuple with None if it removes them; None if it says nothing about them."""
    directory, name = REQUIREMENTS.split("/")
    removals = {f"{_REMOVED}{directory}", f"{directory}/{_REMOVED}{name}", f"{directory}/{OPAQUE}", OPAQUE}
    is_removed, data = False, None
    with tarfile.open(fileobj=content, mode="r|") as archive:  # a stream: nothing is unpacked
        for entry in archive:
            path = entry.name.removeprefix("./").strip("/")
            is_removed |= path in removals
            if path == REQUIREMENTS:
                file = archive.extractfile(entry) if entry.isreg() and entry.size <= MAX_REQUIREMENTS else None
                data = None if file is None else file.read()
                is_removed |= data is None
    # What a layer itself has counts, though it also removes what is below it.
    return (data,) if data is not None or is_removed else None
