"""The digests of Python distributions that are installed, from the hashes that their installer recorded."""

from __future__ import annotations

import base64
import hashlib
from importlib import metadata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.metadata import PackagePath

_INSTALLERS_OWN: Final = frozenset(("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"))
"""Files of ``.dist-info`` that say how a distribution was installed; the wheel does not have them."""


def distribution_digest(name: str, version: str) -> str | None:
    """Return the digest of an installed distribution: ``dirHash`` of in-toto, of the files that its wheel has.

    It follows from the hashes in RECORD, and no other file is read
    (https://packaging.python.org/en/latest/specifications/recording-installed-packages). Scripts and compiled bytecode
    are left out, which installers write for a place.

    Args:
        name: Name of the distribution.
        version: The version that is meant.

    Returns:
        64 hexadecimal digits; None if that version is not installed here, or has no record of its files.
    """
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    files = [] if found.version != version else [file for file in found.files or () if _is_of_wheel(file)]
    # As `sha256sum` prints them: https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md.
    lines = sorted((file.as_posix(), _hexadecimal(file)) for file in files)
    listed = "".join(f"{digest}  {path}\n" for path, digest in lines)
    return hashlib.sha256(listed.encode()).hexdigest() if lines else None


def _is_of_wheel(file: PackagePath) -> bool:
    if file.hash is None or file.hash.mode != "sha256" or ".." in file.parts or file.suffix == ".pyc":
        return False
    return not (file.parent.name.endswith(".dist-info") and file.name in _INSTALLERS_OWN)


def _hexadecimal(file: PackagePath) -> str:
    text = "" if file.hash is None else file.hash.value
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).hex()
