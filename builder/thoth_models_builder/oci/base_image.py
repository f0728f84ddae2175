"""Read base images, one per platform, from an image layout.

The layers of a base are not changed: their descriptors and the digests of their content are kept, compressed or not.
Media types of Docker are replaced by the equivalent ones of OCI, because a manifest cannot mix them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from thoth_models_builder.errors import ImageNotFoundError, LayoutError, UsageError
from thoth_models_builder.oci.descriptors import (
    INDEXES,
    MANIFESTS,
    MAX_DOCUMENTS,
    Descriptor,
    check_media_type,
    children,
    normal_platform,
    parse_document,
    platform_name,
)
from thoth_models_builder.oci.image_config import BaseImage
from thoth_models_builder.oci.layout import copy_blob
from thoth_models_builder.oci.layout_files import blob_path, prepare_layout, read_document, read_index

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from thoth_models.bundle.digest import Digest

_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_LAYERS: Final = {
    _LAYER: _LAYER,
    f"{_LAYER}+gzip": f"{_LAYER}+gzip",
    f"{_LAYER}+zstd": f"{_LAYER}+zstd",
    "application/vnd.docker.image.rootfs.diff.tar": _LAYER,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{_LAYER}+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": f"{_LAYER}+zstd",
}
_REFERENCE_TYPE = "vnd.docker.reference.type"
_MAX_DEPTH = 4


def read_bases(layout: Path, platforms: Collection[str]) -> list[BaseImage]:
    """Return the images of a layout with one entry, one per platform, in the order of its index.

    Args:
        layout: An image layout.
        platforms: Platforms to return, such as ``linux/arm64`` or ``linux/arm/v7``. Empty for all.

    Raises:
        LayoutError: It is not a layout, or its image is malformed.
        ImageNotFoundError: It has no image for one of the platforms.
    """
    entries = read_index(layout)
    if len(entries) != 1:
        raise LayoutError(f"{layout}/index.json: expected one image or index, found {len(entries)}")
    found: dict[str, BaseImage] = {}
    for entry in _manifests(layout, entries[0], set()):
        image = _read_image(layout, entry)
        found.setdefault(normal_platform(platform_name(image.platform)), image)
    wanted = {normal_platform(name) for name in platforms}
    if missing := sorted(wanted - set(found)):
        raise ImageNotFoundError(
            f"{layout}: expected an image for {', '.join(missing)}, found {', '.join(found) or 'none'}"
        )
    if not found:
        raise ImageNotFoundError(f"{layout}: expected an image, found an index without any")
    return [image for name, image in found.items() if not wanted or name in wanted]


def join_bases(layouts: Sequence[Path], joined: Path, platforms: Collection[str]) -> list[BaseImage]:
    """Copy the layers of several bases into one new layout, and return the images of all of them.

    Args:
        layouts: Image layouts, each with one image or index.
        joined: Directory to be created. Only layers are written to it, each compared with its digest.
        platforms: Platforms to return. Empty for all.

    Raises:
        LayoutError: One is not a layout, its image is malformed, or a layer is missing or has another digest.
        ImageNotFoundError: None has an image for one of the platforms.
        UsageError: Two have an image for the same platform.
        OutputError: The new layout cannot be written.
    """
    found: dict[str, tuple[Path, BaseImage]] = {}
    for layout in layouts:
        for image in read_bases(layout, ()):
            name = normal_platform(platform_name(image.platform))
            if name in found:
                raise UsageError(f"expected each platform in one base, found {name} in two")
            found[name] = layout, image
    wanted = {normal_platform(name) for name in platforms} or set(found)
    if missing := sorted(wanted - set(found)):
        raise ImageNotFoundError(f"expected a base for {', '.join(missing)}, found {', '.join(found)}")
    kept = [found[name] for name in found if name in wanted]
    prepare_layout(joined)
    for layout, image in kept:
        for layer in image.layers:
            if not blob_path(joined, layer.digest).exists():
                copy_blob(layout, joined, layer, lambda _: None)
    return [image for _, image in kept]


def _manifests(layout: Path, entry: Descriptor, seen: set[tuple[Digest, str]], depth: int = 0) -> Iterator[Descriptor]:
    """Yield the manifests below an index, each once, although an index may name it again and again."""
    key = entry.digest, platform_name(entry.platform)
    if key in seen:
        return
    seen.add(key)
    if len(seen) > MAX_DOCUMENTS:
        raise LayoutError(f"{layout}: expected at most {MAX_DOCUMENTS} manifests and indexes, found more")
    if entry.media_type in INDEXES:
        if depth >= _MAX_DEPTH:
            raise LayoutError(f"{layout}: expected indexes in at most {_MAX_DEPTH} levels, found more")
        for child in _children(layout, entry, _document(layout, entry)):
            yield from _manifests(layout, child, seen, depth + 1)
    elif entry.media_type not in MANIFESTS:
        raise LayoutError(f"{layout}: expected a manifest or an index, found {entry.media_type!r:.120}")
    elif _REFERENCE_TYPE not in entry.annotations:  # attestations about the base do not hold for the image made from it
        yield entry


def _read_image(layout: Path, entry: Descriptor) -> BaseImage:
    config_entry, *layers = _children(layout, entry, _document(layout, entry))
    config = _document(layout, config_entry)
    place = blob_path(layout, config_entry.digest)
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or len(diff_ids) != len(layers):
        count = len(diff_ids) if isinstance(diff_ids, list) else "none"
        raise LayoutError(f"{place}: rootfs.diff_ids: expected {len(layers)}, as there are layers, found {count}")
    _check_config(config, str(place))
    platform = dict(entry.platform) or {
        name: config[name]
        for name in ("architecture", "os", "os.version", "variant")
        if isinstance(config.get(name), str) and config[name]
    }
    if not platform.get("os") or not platform.get("architecture"):
        raise LayoutError(f"{place}: expected an operating system and an architecture, found {platform}")
    return BaseImage(
        platform=platform,
        config=config,
        layers=tuple(_layer(layout, layer) for layer in layers),
        digest=entry.digest,
    )


def _check_config(config: Mapping[str, Any], place: str) -> None:
    """Check the types of the parts of a configuration that are read or extended."""
    settings = config.get("config") or {}
    if not isinstance(settings, dict):
        raise LayoutError(f"{place}: config: expected an object, found {type(settings).__name__}")
    labels, environment, history = settings.get("Labels"), settings.get("Env"), config.get("history")
    if labels is not None and not (isinstance(labels, dict) and all(isinstance(text, str) for text in labels.values())):
        raise LayoutError(f"{place}: config.Labels: expected an object of texts, found {labels!r:.120}")
    for name, value, kind in (("config.Env", environment, str), ("history", history, dict)):
        if value is not None and not (isinstance(value, list) and all(isinstance(item, kind) for item in value)):
            raise LayoutError(f"{place}: {name}: expected a list of {kind.__name__}, found {value!r:.120}")


def _layer(layout: Path, layer: Descriptor) -> Descriptor:
    if layer.media_type not in _LAYERS:
        raise LayoutError(f"{layout}: expected a layer that is in the image, found {layer.media_type!r:.120}")
    return replace(layer, media_type=_LAYERS[layer.media_type], platform={})


def _document(layout: Path, entry: Descriptor) -> Mapping[str, Any]:
    try:
        document = parse_document(read_document(layout, entry))
        check_media_type(document, entry.media_type)
    except ValueError as error:
        raise LayoutError(f"{blob_path(layout, entry.digest)}: {error}") from error
    return document


def _children(layout: Path, entry: Descriptor, document: Mapping[str, Any]) -> list[Descriptor]:
    try:
        found = children(document, entry.media_type)
    except ValueError as error:
        raise LayoutError(f"{blob_path(layout, entry.digest)}: {error}") from error
    if entry.media_type in MANIFESTS and not isinstance(document.get("config"), dict):
        raise LayoutError(f"{blob_path(layout, entry.digest)}: config: expected a descriptor, found none")
    return found
