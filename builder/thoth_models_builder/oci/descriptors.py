"""Parse OCI documents: descriptors, and the manifests and indexes that contain them.

By https://github.com/opencontainers/image-spec/blob/main/descriptor.md; the older media types of Docker mean the same
documents. Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from thoth_models.bundle.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"

MANIFESTS = frozenset({OCI_MANIFEST, OCI_ARTIFACT, DOCKER_MANIFEST})
"""Media types of documents that point to blobs."""

INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
"""Media types of documents that point to other documents."""

MAX_DOCUMENT_SIZE = 4 * 1024 * 1024
"""Bytes of a manifest or an index: what registries accept, by the distribution specification."""

MAX_DOCUMENTS = 1000
"""Number of entries of an index or a manifest, and of documents below an index. Images for all platforms, with an
attestation for each, have a few dozen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Descriptor:
    """Identifies one blob or document by its digest.

    Attributes:
        media_type: Media type.
        digest: Digest of the bytes.
        size: Length in bytes.
        platform: ``os``, ``architecture``, ``variant`` … for an image of an index; else empty.
        annotations: Annotations, by name.
    """

    media_type: str
    digest: Digest
    size: int
    platform: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_document(self) -> bool:
        """Whether it is a manifest or an index, which registries keep apart from blobs."""
        return self.media_type in MANIFESTS or self.media_type in INDEXES

    def as_json(self) -> dict[str, Any]:
        """Return the descriptor in the form that documents contain."""
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": f"sha256:{self.digest}", "size": self.size}
        if self.platform:
            value["platform"] = dict(self.platform)
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value


def parse_document(data: bytes) -> dict[str, Any]:
    """Parse a manifest or an index.

    Raises:
        ValueError: The bytes are not a JSON object.
    """
    try:
        document = json.loads(data)
    except RecursionError as error:
        raise ValueError("expected JSON, found it nested too deeply") from error
    if not isinstance(document, dict):
        raise ValueError(f"expected a JSON object, found a {type(document).__name__}")  # noqa: TRY004 - of a document
    return document


def parse_descriptor(value: object, place: str) -> Descriptor:
    """Parse one descriptor; ``place`` is its key path, for messages.

    Raises:
        ValueError: The value is not a descriptor; the message says where and why.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{place}: expected a descriptor, found a {type(value).__name__}")  # noqa: TRY004
    media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if not isinstance(media_type, str) or not media_type:
        raise ValueError(f"{place}.mediaType: expected a media type, found {media_type!r:.80}")
    if not isinstance(digest, str) or not digest.startswith("sha256:"):
        raise ValueError(f"{place}.digest: expected sha256:…, found {digest!r:.80}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError(f"{place}.size: expected a length in bytes, found {size!r:.80}")
    try:
        parsed = Digest(digest.removeprefix("sha256:"))
    except ValueError as error:
        raise ValueError(f"{place}.digest: {error}") from error
    return Descriptor(
        media_type=media_type,
        digest=parsed,
        size=size,
        platform=_texts(value.get("platform"), f"{place}.platform"),
        annotations=_texts(value.get("annotations"), f"{place}.annotations"),
    )


def children(document: Mapping[str, Any], media_type: str) -> list[Descriptor]:
    """Return everything that a manifest or an index points to, in its order.

    A ``subject`` is not included: it is another image, which is transferred on its own.

    Raises:
        ValueError: A descriptor is malformed, or the media type is not one of a document.
    """
    if media_type in INDEXES:
        return _listed(document, "manifests")
    if media_type in MANIFESTS:
        config = document.get("config")
        first = [] if config is None else [parse_descriptor(config, "config")]
        return [*first, *_listed(document, "layers"), *_listed(document, "blobs")]
    raise ValueError(f"expected the media type of a manifest or an index, found {media_type!r:.120}")


def check_media_type(document: Mapping[str, Any], media_type: str) -> None:
    """Check that the media type in a document is the one that it was announced with.

    Raises:
        ValueError: They disagree.
    """
    stated = document.get("mediaType", media_type)
    if stated != media_type:
        raise ValueError(f"mediaType: expected {media_type}, as it was announced, found {stated!r:.120}")


def platform_name(platform: Mapping[str, str]) -> str:
    """Return ``os/architecture`` or ``os/architecture/variant``."""
    parts = [platform.get("os", ""), platform.get("architecture", ""), platform.get("variant", "")]
    return "/".join(part for part in parts if part)


def normal_platform(name: str) -> str:
    """Return one name for what is the same: ``linux/arm64/v8``, as official images have it, is ``linux/arm64``."""
    return name.removesuffix("/v8") if name.endswith("/arm64/v8") else name


def _listed(document: Mapping[str, Any], name: str) -> list[Descriptor]:
    values = document.get(name)
    if values is None:
        return []
    if not isinstance(values, list):
        raise ValueError(f"{name}: expected a list, found a {type(values).__name__}")  # noqa: TRY004
    if len(values) > MAX_DOCUMENTS:
        raise ValueError(f"{name}: expected at most {MAX_DOCUMENTS} entries, found {len(values)}")
    return [parse_descriptor(value, f"{name}[{index}]") for index, value in enumerate(values)]


def _texts(value: object, place: str) -> dict[str, str]:
    """Return the texts of an object; other values, such as a list of operating system features, are left out."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{place}: expected an object, found a {type(value).__name__}")  # noqa: TRY004
    return {name: text for name, text in value.items() if isinstance(text, str)}


def unique(descriptors: Iterable[Descriptor]) -> list[Descriptor]:
    """Return each content once, in the order of its first appearance."""
    found: dict[Digest, Descriptor] = {}
    for descriptor in descriptors:
        found.setdefault(descriptor.digest, descriptor)
    return list(found.values())
