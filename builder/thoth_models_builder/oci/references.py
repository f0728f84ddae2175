"""References to images in registries, such as ``ghcr.io/acme/thoth-models:1.2``, read as Docker reads them.

The grammar is that of https://pkg.go.dev/github.com/distribution/reference. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Self

from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import ImageReferenceError

DOCKER_HUB = "docker.io"

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_MAX_NAME_LENGTH = 255
_MAX_PORT = 65535
_SHOWN = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """An image in a registry.

    Attributes:
        registry: Host and port as messages and credentials name it; ``docker.io`` for Docker Hub.
        repository: Path in the registry, such as ``acme/thoth-models``.
        tag: Tag, or None.
        digest: Digest of the manifest or index, or None. It takes precedence over the tag.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a reference; a name without a host belongs to Docker Hub.

        Raises:
            ImageReferenceError: The text is not a reference.
        """
        name, at, digest_text = text.partition("@")
        digest = _parse_digest(digest_text, text) if at else None
        tag: str | None = None
        # A colon after the last slash begins a tag; one before it belongs to a port.
        head, colon, last = name.rpartition(":")
        if colon and "/" not in last:
            name, tag = head, last
            if not _TAG.fullmatch(tag):
                raise _wrong(text, f"a tag of letters, digits, '_', '.' and '-', found {tag[:_SHOWN]!r}")
        registry, repository = _split(name)
        if not _HOST.fullmatch(registry) or _port(registry) > _MAX_PORT:
            raise _wrong(text, f"the host of a registry, found {registry[:_SHOWN]!r}")
        if len(registry) + 1 + len(repository) > _MAX_NAME_LENGTH:
            raise _wrong(
                text, f"a name of at most {_MAX_NAME_LENGTH} characters, found {len(registry) + 1 + len(repository)}"
            )
        if not _REPOSITORY.fullmatch(repository):
            raise _wrong(text, f"lower-case letters, digits, separators and slashes, found {repository[:_SHOWN]!r}")
        return cls(registry=registry, repository=repository, tag=tag, digest=digest)

    def with_tag(self, tag: str | None) -> Self:
        """Return the same repository with another tag and without a digest."""
        return replace(self, tag=tag, digest=None)

    def __str__(self) -> str:
        """Return the reference in full."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@sha256:{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @property
    def name(self) -> str:
        """Name of the version in the API of a registry: the digest, or else the tag.

        Raises:
            ImageReferenceError: The reference has neither; ``latest`` is never assumed.
        """
        if self.digest is not None:
            return f"sha256:{self.digest}"
        if self.tag is not None:
            return self.tag
        raise ImageReferenceError(f"{self}: expected a tag or a digest, found neither")


def is_loopback(registry: str) -> bool:
    """Return whether a registry is on this computer, where plain HTTP is the default."""
    host = host_of(registry)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(registry: str) -> str:
    """Return the host of a registry, without a port and without the brackets of IPv6."""
    if registry.startswith("["):
        return registry[1:].partition("]")[0]
    return registry.partition(":")[0]


def _port(registry: str) -> int:
    _, _, port = registry.rpartition("]")[2].partition(":")
    return int(port or 0)


def _split(name: str) -> tuple[str, str]:
    """Return registry and repository, separated by the rules of Docker."""
    first, slash, rest = name.partition("/")
    if not slash or not (first == "localhost" or first != first.lower() or any(mark in first for mark in ".:[")):
        return DOCKER_HUB, name if slash else f"library/{name}"
    if first == "index.docker.io":
        first = DOCKER_HUB
    if first == DOCKER_HUB and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


def _parse_digest(digest: str, text: str) -> Digest:
    algorithm, _, hexadecimal = digest.partition(":")
    if algorithm != "sha256":
        raise _wrong(text, f"a digest sha256:…, found {digest[:_SHOWN]!r}")
    try:
        return Digest(hexadecimal)
    except ValueError as error:
        raise _wrong(text, f"64 lower-case hexadecimal digits after sha256:, found {hexadecimal[:_SHOWN]!r}") from error


def _wrong(text: str, expected: str) -> ImageReferenceError:
    return ImageReferenceError(f"image reference {text[:_SHOWN]!r}: expected {expected}")
