"""Small parts of a bill of materials: hashes, properties, licences, package URLs and references."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote

from cyclonedx.model import (
    AttachedText,
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement, LicenseExpression
from cyclonedx.spdx import is_supported_id

from thoth_models_builder.spec.licences.names import licence_of
from thoth_models_builder.trust.package_urls import WHEEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cyclonedx.model.license import License

    from thoth_models.bundle.digest import Digest
    from thoth_models.bundle.manifest import BuiltModel, Origin

PREFIX: Final = "thoth-models"
"""Prefix of the names of properties that have no field in CycloneDX."""

_HUB: Final = "https://huggingface.co"
_INDEX: Final = "https://pypi.org/project"


def sha256(digest: Digest) -> HashType:
    """Return a digest as CycloneDX writes it."""
    return HashType(alg=HashAlgorithm.SHA_256, content=digest.hex)


def properties(facts: Mapping[str, str | None]) -> list[Property]:
    """Return facts that have no field of their own; those without a value are left out."""
    return [Property(name=f"{PREFIX}:{name}", value=text) for name, text in facts.items() if text]


def licences(built: BuiltModel, text: str | None) -> list[License]:
    """Return the licence of a model as its publisher declares it: an SPDX id or expression if it is one, else a name.

    Args:
        built: The model.
        text: The text of the licence, or None. An expression of several licences cannot have one.
    """
    licence = licence_of(built.license)
    if licence is None:
        return []
    declared = LicenseAcknowledgement.DECLARED
    attached = None if text is None else AttachedText(content=text)
    if licence.is_name:
        link = licence_link(built)
        url = None if link is None else XsUri(link)
        return [DisjunctiveLicense(name=licence.name, url=url, text=attached, acknowledgement=declared)]
    # The schema has a list of its own, in which an id may be missing; an expression may contain any.
    if is_supported_id(licence.spdx):
        return [DisjunctiveLicense(id=licence.spdx, text=attached, acknowledgement=declared)]
    return [LicenseExpression(licence.spdx, acknowledgement=declared)]


def licence_link(built: BuiltModel) -> str | None:
    """Return the address of a licence's text, or None; a path is one in the origin's repository."""
    link = built.license_link
    if link is None or link.lower().startswith(("http://", "https://")):
        return link
    return file_address(built.origin, link, how="blob")


def supplier_of(origin: Origin) -> tuple[str, str] | None:
    """Return name and address of whom an origin belongs to, or None where it does not say that."""
    owner = origin.id.rpartition("/")[0] if origin.kind == "hub" else ""
    return (owner, f"{_HUB}/{quote(owner)}") if owner else None


def references(origin: Origin) -> Iterator[ExternalReference]:
    """Yield where a model can be looked at: its repository at the commit and its card there, or its wheel."""

    def reference(kind: ExternalReferenceType, address: str, comment: str) -> ExternalReference:
        return ExternalReference(type=kind, url=XsUri(address), comment=comment)

    if origin.kind == "hub":
        repository = f"{_HUB}/{quote(origin.id)}"
        at = "" if origin.revision is None else f"/tree/{quote(origin.revision, safe='')}"
        yield reference(ExternalReferenceType.VCS, repository, "git repository")
        yield reference(ExternalReferenceType.DISTRIBUTION, f"{repository}{at}", "files at the commit of the lock")
        if (card := file_address(origin, "README.md", how="blob")) is not None:
            yield reference(ExternalReferenceType.MODEL_CARD, card, "model card of the publisher")
    elif origin.kind == "wheel" and (wheel := WHEEL.fullmatch(origin.id)) is not None:
        address = f"{_INDEX}/{quote(wheel['name'], safe='')}/{quote(wheel['version'], safe='')}/"
        yield reference(ExternalReferenceType.DISTRIBUTION, address, "wheel with the files")


def file_address(origin: Origin, path: str, *, how: Literal["resolve", "blob", "tree"] = "resolve") -> str | None:
    """Return the address of a file of an origin at its commit; None if the origin is not a repository.

    Args:
        origin: The origin.
        path: Path in its repository.
        how: The file itself (``resolve``), or a page that shows it (``blob``), or a directory (``tree``).
    """
    if origin.kind != "hub" or origin.revision is None:
        return None
    return f"{_HUB}/{quote(origin.id)}/{how}/{quote(origin.revision, safe='')}/{quote(path)}"
