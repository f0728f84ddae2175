"""Parse the destinations and base images of the command line. Pure.

``oci:DIR`` is an image layout, ``docker-archive:FILE`` an archive for ``docker load``, ``docker`` or
``docker:NAME:TAG`` the local engine, and ``registry:HOST/NAME:TAG`` a registry.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from thoth_models_builder.errors import UsageError
from thoth_models_builder.oci.references import Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["oci", "docker-archive", "docker", "registry"]

_FORMS: dict[str, str] = {
    "oci": "oci:DIR",
    "docker-archive": "docker-archive:FILE",
    "docker": "docker or docker:NAME:TAG",
    "registry": "registry:HOST/NAME:TAG",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """A destination of an image.

    Attributes:
        text: Text that the user gave.
        kind: Kind of the destination.
        place: Directory, file or reference; empty for the engine.
        reference: Name of the image there.
    """

    text: str
    kind: Kind
    place: str
    reference: Reference


def parse_all(texts: Sequence[str], name: str) -> list[Destination]:
    """Parse destinations; ``name`` is for those without a name.

    Raises:
        UsageError: A destination is malformed or given twice, or there are none.
    """
    if not texts:
        raise UsageError(f"expected at least one destination: {', '.join(_FORMS.values())}")
    found = [_parse(text, name) for text in texts]
    seen: dict[tuple[str, str], str] = {}
    for target in found:
        is_path = target.kind in ("oci", "docker-archive")
        identity = (target.kind, str(Path(target.place).resolve() if is_path else target.reference))
        if identity in seen:
            raise UsageError(f"expected different destinations, found {seen[identity]} and {target.text}")
        seen[identity] = target.text
    return found


def _parse(text: str, name: str) -> Destination:
    kind, colon, place = text.partition(":")
    if kind not in _FORMS or (not place and (kind != "docker" or colon)):
        raise UsageError(f"expected a destination ({', '.join(_FORMS.values())}), found {text!r}")
    if kind == "oci" and ":" in Path(place).name:
        raise UsageError(f"expected oci:DIR, whose image is named by --name NAME:TAG, found {text!r}")
    is_named = kind == "registry" or (kind == "docker" and place)
    reference = Reference.parse(place if is_named else name)
    if reference.digest is not None:
        raise UsageError(f"expected a name and a tag, found a digest, which follows from the content: {text!r}")
    if kind == "registry":
        reference.name  # noqa: B018 - raises without a tag
    elif reference.tag is None:
        reference = reference.with_tag("latest")
    return Destination(text=text, kind=cast("Kind", kind), place=place, reference=reference)


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseSource:
    """Source of a base image: an ``oci`` layout, the ``docker`` engine or a ``registry``, and its name there."""

    kind: Literal["oci", "docker", "registry"]
    place: str


def parse_base(text: str) -> BaseSource:
    """Parse ``oci:DIR``, ``docker:NAME`` or ``registry:HOST/NAME:TAG``.

    Raises:
        UsageError: The text is none of them.
    """
    kind, _, place = text.partition(":")
    if kind not in ("oci", "docker", "registry") or not place:
        raise UsageError(f"expected a base image (oci:DIR, docker:NAME or registry:HOST/NAME:TAG), found {text!r}")
    if kind == "registry":
        Reference.parse(place).name  # noqa: B018 - raises without a tag or a digest
    return BaseSource(kind=cast('Literal["oci", "docker", "registry"]', kind), place=place)
