"""Wheels of an image, from the ``requirements.txt`` that it was installed from, or from names of files. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from thoth_models.bundle.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_REQUIREMENTS: Final = 1024 * 1024
"""Bytes of a requirements file that is read; one of ours has some hundred for each wheel."""

_NAME: Final = r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
_VERSION: Final = r"(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]{0,99})"
_LINE: Final = re.compile(rf"{_NAME}=={_VERSION}(?P<hashes>(?: +--hash=sha256:[0-9a-f]{{64}})+)", re.ASCII)
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})", re.ASCII)
_FILE: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._]*)-(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_]*)(-[^-]+){3,4}\.whl", re.ASCII
)
"""Name, version, perhaps a number of the build, and three tags, of which none has a dash."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A wheel that an image has, installed or as a file.

    Attributes:
        name: Normalised name of the package.
        version: Its version.
        sha256: Digest of the wheel; None where the requirement permits several.
        platforms: Platforms of the image that have it, such as ``linux/amd64``; empty for all.
    """

    name: str
    version: str
    sha256: Digest | None
    platforms: tuple[str, ...] = ()


def parse_requirements(data: bytes) -> list[Wheel] | None:
    """Return the wheels of a requirements file; None if a line is anything but a package with version and hashes."""
    wheels = []
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    # As pip-compile writes it, hashes may be in lines of their own.
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        wanted = line.partition("#")[0].strip()
        if not wanted:
            continue
        if (found := _LINE.fullmatch(re.sub(r"\s+", " ", wanted))) is None:
            return None
        hashes = _HASH.findall(found["hashes"])
        digest = Digest(hashes[0]) if len(hashes) == 1 else None
        wheels.append(Wheel(name=_normalised(found["name"]), version=found["version"], sha256=digest))
    return wheels


def wheel_of(file: str, digest: Digest) -> Wheel | None:
    """Return the wheel that a file is by its name (PEP 427); None if that is not one of a wheel."""
    found = _FILE.fullmatch(file)
    return None if found is None else Wheel(name=_normalised(found["name"]), version=found["version"], sha256=digest)


def merged(of_platforms: Mapping[str, Iterable[Wheel]]) -> list[Wheel]:
    """Return each wheel once, with the platforms that have it, sorted. The same version may be another file on each."""
    found: dict[Wheel, set[str]] = {}
    for platform, wheels in of_platforms.items():
        for wheel in wheels:
            found.setdefault(replace(wheel, platforms=()), set()).add(platform)
    merged = [replace(wheel, platforms=tuple(sorted(platforms))) for wheel, platforms in found.items()]
    return sorted(merged, key=lambda wheel: (wheel.name, wheel.version, str(wheel.sha256)))


def _normalised(name: str) -> str:
    """Return the name of a package as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
