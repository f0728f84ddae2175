"""The wheels that are audited, their digests, and how they are downloaded. Their code is never run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

PINS = Path(__file__).with_name("wheels.json")
"""Distribution, and for each version the file's name, its sha256 and its size in bytes."""

_PIP_SECONDS = 120.0
_MAX_BYTES = 4_000_000  # of one wheel's text; the largest has 180,000


class WheelError(Exception):
    """A wheel does not match its pin, or cannot be read."""


class WheelUnreachableError(WheelError):
    """A wheel could not be downloaded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """A release that is audited.

    Attributes:
        distribution: Name of the distribution.
        version: Its version.
        file: Name of the wheel.
        sha256: Of the wheel, in hexadecimal.
        size: Of the wheel, in bytes.
    """

    distribution: str
    version: str
    file: str
    sha256: str
    size: int


def read_pins(path: Path = PINS) -> list[Pin]:
    """Return the pinned releases, oldest first, as the file lists them."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return [Pin(distribution=document["distribution"], **entry) for entry in document["wheels"]]


def fetch(pin: Pin, cache: Path) -> Path:
    """Return the wheel in ``cache``; download it with pip if it is missing. Hash it each time.

    Raises:
        WheelError: Its size or sha256 differs from the pin. The file is kept for inspection.
        WheelUnreachableError: pip could not download it.
    """
    path = cache / pin.file
    if not path.exists():
        _download(pin, cache)
    check(pin, path)
    return path


def check(pin: Pin, path: Path) -> None:
    """Compare a file with its pin.

    Raises:
        WheelError: Its size or sha256 differs.
    """
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if (found, len(data)) != (pin.sha256, pin.size):
        raise WheelError(
            f"{pin.file}: expected sha256 {pin.sha256} and {pin.size} bytes, found {found} and {len(data)} in {path}"
        )


def read_texts(path: Path) -> dict[str, str]:
    """Return the Python files and the metadata of a wheel, by path in it.

    Raises:
        WheelError: The file is not an archive, or its texts are larger than those of any release.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = [info for info in archive.infolist() if info.filename.endswith((".py", ".dist-info/METADATA"))]
            size = sum(info.file_size for info in wanted)
            if size > _MAX_BYTES:
                raise WheelError(f"{path.name}: expected at most {_MAX_BYTES} bytes of text, found {size}")
            return {info.filename: archive.read(info).decode() for info in wanted}
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise WheelError(f"{path.name}: expected an archive of UTF-8 texts, found: {error}") from error


def _download(pin: Pin, cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as scratch:
        command = [
            *(sys.executable, "-P", "-m", "pip", "download"),
            # Downloaded as a file, not built, installed or run, so its required Python version does not matter.
            *("--no-deps", "--only-binary=:all:", "--ignore-requires-python"),
            *("--no-input", "--disable-pip-version-check", "--progress-bar=off", "--quiet"),
            *("--dest", scratch, "--", f"{pin.distribution}=={pin.version}"),
        ]
        try:
            result = subprocess.run(  # noqa: S603 - a fixed command, and names from a file of the repository
                command, check=False, capture_output=True, text=True, timeout=_PIP_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise WheelUnreachableError(f"{pin.file}: expected pip to answer within {_PIP_SECONDS:g} s") from error
        downloaded = Path(scratch) / pin.file
        if result.returncode != 0 or not downloaded.exists():
            lines = [line for line in result.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
            raise WheelUnreachableError(f"{pin.file}: expected pip to download it, found: {' '.join(lines[-2:])}")
        check(pin, downloaded)
        # Under a unique name first, because another run may download the same file.
        ready = cache / f"{pin.file}.{os.getpid()}"
        shutil.move(downloaded, ready)
        ready.replace(cache / pin.file)
