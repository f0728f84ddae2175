"""Check what a release publishes: ``python tools/check_packages.py DIRECTORY [TAG]``.

In the directory are a wheel and a source distribution of each of the two packages, all of one version; the builder
needs the runtime of exactly that version. A tag is ``v`` and the version, and the changelog has a section for it.
"""

from __future__ import annotations

import email
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import Message

RUNTIME, BUILDER = "thoth-models", "thoth-models-builder"
CHANGELOG = Path(__file__).resolve().parents[1] / "CHANGELOG.md"

_PIN = re.compile(rf"{RUNTIME}(?:\[[\w,-]+\])?\s*==\s*(?P<version>[^\s;,]+)")


def metadata(path: Path) -> Message:
    """Return the metadata of a wheel or of a source distribution.

    Raises:
        ValueError: The file is neither, or has no metadata.
    """
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            names = [name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
            texts = [wheel.read(name) for name in names]
    elif path.name.endswith(".tar.gz"):
        with tarfile.open(path) as archive:
            found = [member for member in archive if re.fullmatch(r"[^/]+/PKG-INFO", member.name)]
            texts = [file.read() for file in map(archive.extractfile, found) if file is not None]
    else:
        raise ValueError(f"{path.name}: expected a wheel or a source distribution")
    if len(texts) != 1:
        raise ValueError(f"{path.name}: expected one file of metadata, found {len(texts)}")
    return email.message_from_bytes(texts[0])


def findings(directory: Path, tag: str | None, changelog: str) -> list[str]:
    """Return what is wrong with the packages in a directory, a line each; none if nothing is.

    Args:
        directory: It has the packages and nothing else.
        tag: The release's tag, such as ``v1.2.3``; None for packages that are not released.
        changelog: Text of the changelog.
    """
    found: list[str] = []
    kinds: list[tuple[str, str]] = []
    versions: set[str] = set()
    for path in sorted(directory.iterdir()):
        try:
            about = metadata(path)
        except (ValueError, OSError, tarfile.TarError, zipfile.BadZipFile) as error:
            found.append(str(error))
            continue
        kinds.append((about["Name"], "wheel" if path.suffix == ".whl" else "source"))
        versions.add(about["Version"])
        pins = [match["version"] for line in about.get_all("Requires-Dist") or [] if (match := _PIN.match(line))]
        if about["Name"] == BUILDER and (not pins or set(pins) != {about["Version"]}):
            wanted = f"{RUNTIME}=={about['Version']}"
            found.append(f"{path.name}: expected it to need {wanted}, found {', '.join(pins) or 'no exact version'}")
    expected = sorted((name, kind) for name in (RUNTIME, BUILDER) for kind in ("wheel", "source"))
    if sorted(kinds) != expected:
        found.append(f"{directory}: expected a wheel and a source distribution of each package, found {sorted(kinds)}")
    if len(versions) != 1:
        found.append(f"{directory}: expected one version, found {', '.join(sorted(versions)) or 'none'}")
    if tag is not None:
        if {tag} != {f"v{version}" for version in versions}:
            found.append(f"{tag}: expected a tag v{', v'.join(sorted(versions))}, as the packages have it")
        if not re.search(rf"^## \[?{re.escape(tag.removeprefix('v'))}\]?(\s|$)", changelog, re.MULTILINE):
            found.append(f"CHANGELOG.md: expected a section for {tag.removeprefix('v')}, found none")
    return found


def main(arguments: Sequence[str]) -> int:
    """Print the findings about a directory; return 1 if there are some."""
    directory, *rest = arguments
    found = findings(Path(directory), rest[0] if rest else None, CHANGELOG.read_text(encoding="utf-8"))
    for line in found:
        sys.stdout.write(f"{line}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
