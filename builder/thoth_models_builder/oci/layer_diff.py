"""Compare two images layer by layer: what a host that has one of them pulls to get the other.

Registries and container runtimes identify a layer by its digest, and fetch the layers they lack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from thoth_models_builder.errors import LayoutError
from thoth_models_builder.oci.descriptors import (
    DOCKER_CONFIG,
    INDEXES,
    OCI_CONFIG,
    check_media_type,
    children,
    normal_platform,
    parse_document,
    platform_name,
)
from thoth_models_builder.oci.layers import LAYER_NAME
from thoth_models_builder.oci.layout_files import blob_path, read_document, read_index

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from thoth_models.bundle.digest import Digest
    from thoth_models_builder.oci.descriptors import Descriptor

State = Literal["kept", "changed", "new"]

STATES: dict[State, str] = {
    "kept": "there already",
    "changed": "other content under the same name",
    "new": "not there before",
}

ANY_PLATFORM = "any"
"""Platform of an image whose index does not name one, such as an artifact."""

_NAMES = (LAYER_NAME, "org.opencontainers.image.title", "org.cncf.model.filepath")
"""Annotations that name a layer; the first one present counts."""

_NO_IMAGE = "unknown"
"""Operating system that builders state for entries that are not images, such as attestations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedLayer:
    """One layer of the new image: name, length in bytes, digest, and whether the old image has it."""

    name: str
    size: int
    digest: str
    state: State


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerDiff:
    """What changes in the layers of an image.

    Attributes:
        platforms: Platforms that this holds for, such as ``linux/amd64``.
        layers: Layers of the new image, lowest first.
        gone: Names of the layers that only the old image has, lowest first.
        bytes: Length of all layers of the new image.
        pulled: Bytes that a host fetches that has the old image.
    """

    platforms: tuple[str, ...]
    layers: tuple[ComparedLayer, ...]
    gone: tuple[str, ...]
    bytes: int
    pulled: int


def compare_layouts(before: Path, after: Path) -> tuple[LayerDiff, ...]:
    """Compare the images of two layouts on disk; blobs of layers are not read.

    Raises:
        LayoutError: One of them is not a layout, a document is missing or wrong, or two images are for one platform.
    """
    return compare_images(read_layers(before), read_layers(after))


def compare_images(
    before: Mapping[str, Sequence[Descriptor]], after: Mapping[str, Sequence[Descriptor]]
) -> tuple[LayerDiff, ...]:
    """Compare the layers of two images, given by platform; platforms with the same result share it. Pure."""
    found: dict[tuple[tuple[ComparedLayer, ...], tuple[str, ...], int, int], list[str]] = {}
    for platform, layers in after.items():
        found.setdefault(_compare(before.get(platform, ()), layers), []).append(platform)
    return tuple(
        LayerDiff(platforms=tuple(platforms), layers=layers, gone=gone, bytes=total, pulled=pulled)
        for (layers, gone, total, pulled), platforms in found.items()
    )


def read_layers(layout: Path) -> dict[str, tuple[Descriptor, ...]]:
    """Return the layers of the image in a layout, for each of its platforms, lowest first.

    Raises:
        LayoutError: It is not a layout, a document is missing or wrong, or two images are for one platform.
    """
    found: dict[str, tuple[Descriptor, ...]] = {}
    waiting = list(reversed(read_index(layout)))
    seen: set[Digest] = set()
    while waiting:
        entry = waiting.pop()
        if entry.digest in seen or not entry.is_document or entry.platform.get("os") == _NO_IMAGE:
            continue
        seen.add(entry.digest)
        try:
            document = parse_document(read_document(layout, entry))
            check_media_type(document, entry.media_type)
            parts = children(document, entry.media_type)
        except ValueError as error:
            raise LayoutError(f"{blob_path(layout, entry.digest)}: {error}") from error
        if entry.media_type in INDEXES:
            waiting += reversed(parts)
            continue
        config = document.get("config")
        stated = platform_name(entry.platform) or _stated_platform(layout, parts, config)
        platform = normal_platform(stated) or ANY_PLATFORM
        if platform in found:
            raise LayoutError(f"{layout}: expected one image for {platform}, found two")
        found[platform] = tuple(parts if config is None else parts[1:])
    return found


def _stated_platform(layout: Path, parts: Sequence[Descriptor], config: object) -> str:
    """Return the platform from the configuration of an image, for entries without one, as skopeo writes them."""
    if config is None or parts[0].media_type not in (OCI_CONFIG, DOCKER_CONFIG):
        return ""
    stated = parse_document(read_document(layout, parts[0]))
    return platform_name({name: text for name, text in stated.items() if isinstance(text, str)})


def _compare(
    before: Sequence[Descriptor], after: Sequence[Descriptor]
) -> tuple[tuple[ComparedLayer, ...], tuple[str, ...], int, int]:
    old_names = _names(before)
    known = {layer.digest for layer in before}
    layers: list[ComparedLayer] = []
    pulled: dict[Digest, int] = {}
    for layer, name in zip(after, _names(after), strict=True):
        state: State = "kept" if layer.digest in known else "changed" if name in old_names else "new"
        if state != "kept":
            pulled[layer.digest] = layer.size
        layers.append(ComparedLayer(name=name, size=layer.size, digest=layer.digest.hex, state=state))
    names, digests = {layer.name for layer in layers}, {layer.digest for layer in after}
    gone = [
        name for layer, name in zip(before, old_names, strict=True) if name not in names and layer.digest not in digests
    ]
    return tuple(layers), tuple(gone), sum(layer.size for layer in after), sum(pulled.values())


def _names(layers: Sequence[Descriptor]) -> list[str]:
    """Return the name of each layer; those of a base image have none, and get one from their digest."""
    return [
        next((layer.annotations[key] for key in _NAMES if key in layer.annotations), f"base {layer.digest.short}")
        for layer in layers
    ]
