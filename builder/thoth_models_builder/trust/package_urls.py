"""Where models and packages come from, as package URLs: https://github.com/package-url/purl-spec."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from thoth_models_builder.errors import UsageError

if TYPE_CHECKING:
    from packageurl import PackageURL

WHEEL: Final = re.compile(r"\s*(?P<name>[^=\s]+)\s*==\s*(?P<version>\S+)\s*")
"""A requirement of one release."""


def package_url(kind: str, identifier: str, revision: str | None = None, path: str | None = None) -> PackageURL | None:
    """Return the package URL of an origin, or of a file in it.

    Args:
        kind: ``hub``, ``wheel`` or ``directory``.
        identifier: Repository id, or requirement.
        revision: Commit of a repository.
        path: Path of a file in it; None for the whole.

    Returns:
        Such as ``pkg:huggingface/org/name@COMMIT#config.json``; None for a directory, which has no such address, and
        for an identifier of another form.

    Raises:
        UsageError: Neither of the extras ``signing`` and ``sbom`` is installed.
    """
    try:
        from packageurl import PackageURL  # noqa: PLC0415 - the extra
    except ImportError as error:
        what = "expected the extra `signing` or `sbom` (pip install 'thoth-models-builder[signing,sbom]')"
        raise UsageError(f"{what}, found no packageurl-python") from error
    if kind == "hub":
        owner, _, name = identifier.rpartition("/")
        if not name:
            return None
        return PackageURL(type="huggingface", namespace=owner or None, name=name, version=revision, subpath=path)
    if kind == "wheel" and (wheel := WHEEL.fullmatch(identifier)) is not None:
        return PackageURL(type="pypi", name=wheel["name"], version=wheel["version"], subpath=path)
    return None
