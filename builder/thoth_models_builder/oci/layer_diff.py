"""What a host that has one image pulls again to have another: layer by layer, by the manifests of both.

A registry, containerd, CRI-O and Podman know a layer by its digest, and fetch what they lack. The classic storage of
Docker knows an unpacked layer by all that lies below it as well, and fetches everything above the first change again.
Both figures are told.
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
from thoth_models_builder.oci.stored import blob_path, read_document, read_index

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from thoth_models.digest import Digest
    from thoth_models_builder.oci.descriptors import Descriptor

State = Literal["kept", "moved", "changed", "new"]

STATES: dict[State, str] = {
    "kept": "there already",
    "moved": "there already, but above something that changed",
    "changed": "another content under the same name",
    "new": "not there before",
}

ANY_PLATFORM = "any"
"""What an image is for where its index does not say, such as an artifact."""

_NAMES = (LAYER_NAME, "org.opencontainers.image.title", "org.cncf.model.filepath")
"""Annotations that say what people call a layer; the first that is there counts."""

_NO_IMAGE = "unknown"
"""The operating system that builders state for what is beside an image, such as an attestation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedLayer:
    """One layer: what people call it, length in bytes, digest, and what that means for a host with the other image."""

    name: str
    size: int
    digest: str
    state: State


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerDiff:
    """What changes in the layers of an image.

    Attributes:
        platforms: Those it is the same for, such as ``linux/amd64``.
        layers: Of the new image, the lowest first.
        gone: Names of the layers that only the old one has, the lowest first.
        bytes: Length of all layers of the new image.
        pulled: Bytes that a host fetches which knows layers by their digests.
        pulled_by_place: Bytes that a host fetches which knows layers by all that lies below them.
    """

    platforms: tuple[str, ...]
    layers: tuple[ComparedLayer, ...]
    gone: tuple[str, ...]
    bytes: int
    pulled: int
    pulled_by_place: int


def compare_layouts(before: Path, after: Path) -> tuple[LayerDiff, ...]:
    """Compare the images of two layouts on disk; blobs of layers are not read.

    Raises:
        LayoutError: One is no layout, or a document is missing or wrong, or it has two images for one platform.
    """
    return compare_images(read_layers(before), read_layers(after))


def compare_images(
    before: Mapping[str, Sequence[Descriptor]], after: Mapping[str, Sequence[Descriptor]]
) -> tuple[LayerDiff, ...]:
    """Compare the layers of two images, given by platform; platforms with one answer share it. Pure."""
    found: dict[tuple[tuple[ComparedLayer, ...], tuple[str, ...], int, int, int], list[str]] = {}
    for platform, layers in after.items():
        found.setdefault(_compare(before.get(platform, ()), layers), []).append(platform)
    return tuple(
        LayerDiff(
            platforms=tuple(platforms), layers=layers, gone=gone, bytes=total, pulled=pulled, pulled_by_place=by_place
        )
        for (layers, gone, total, pulled, by_place), platforms in found.items()
    )


def read_layers(layout: Path) -> dict[str, tuple[Descriptor, ...]]:
    """Return the layers of the image in a layout, for each of its platforms, the lowest first.

    Raises:
        LayoutError: It is no layout, or a document is missing or wrong, or it has two images for one platform.
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
    """Return what the configuration of an image says, for an entry without a platform, as skopeo writes them."""
    if config is None or parts[0].media_type not in (OCI_CONFIG, DOCKER_CONFIG):
        return ""
    stated = parse_document(read_document(layout, parts[0]))
    return platform_name({name: text for name, text in stated.items() if isinstance(text, str)})


def _compare(
    before: Sequence[Descriptor], after: Sequence[Descriptor]
) -> tuple[tuple[ComparedLayer, ...], tuple[str, ...], int, int, int]:
    old_names = _names(before)
    known = {layer.digest for layer in before}
    is_same_below = True
    layers: list[ComparedLayer] = []
    pulled: dict[Digest, int] = {}
    by_place = 0
    for position, (layer, name) in enumerate(zip(after, _names(after), strict=True)):
        is_same_below = is_same_below and position < len(before) and before[position].digest == layer.digest
        by_place += 0 if is_same_below else layer.size
        if layer.digest not in known:
            pulled[layer.digest] = layer.size
        state: State = "changed" if name in old_names else "new"
        if layer.digest in known:
            state = "kept" if is_same_below else "moved"
        layers.append(ComparedLayer(name=name, size=layer.size, digest=layer.digest.hex, state=state))
    names, digests = {layer.name for layer in layers}, {layer.digest for layer in after}
    gone = [
        name for layer, name in zip(before, old_names, strict=True) if name not in names and layer.digest not in digests
    ]
    return tuple(layers), tuple(gone), sum(layer.size for layer in after), sum(pulled.values()), by_place


def _names(layers: Sequence[Descriptor]) -> list[str]:
    """Return what people call each layer; those of a base have no name, so they are called by their digests."""
    return [
        next((layer.annotations[key] for key in _NAMES if key in layer.annotations), f"base {layer.digest.short}")
        for layer in layers
    ]
