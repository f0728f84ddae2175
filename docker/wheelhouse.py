# ruff: noqa: INP001 - a script beside the Dockerfiles, not part of a package
"""Collect the wheels of an image, so that building the image itself needs no network.

``python docker/wheelhouse.py --to docker/runtime/wheelhouse "./runtime[onnx]"`` builds a wheel from each requirement
that is a directory, downloads the wheels of all dependencies, for the Python and the platform of the image and at the
versions of constraints.txt, and writes ``requirements.txt`` beside them: every package with its version and sha256,
below a comment that says which Python and platform the wheels are for. In the image,
``pip install --no-index --find-links=wheelhouse --require-hashes --requirement=wheelhouse/requirements.txt`` installs
exactly these bytes, or fails.

pip evaluates conditional dependencies (``python_version < "3.13"``) for the Python that runs it. If the image has
another Python and the condition differs there, the install in the image fails and names the missing package.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 1800.0
"""Deadline on each run of pip; torch alone may be several hundred megabytes."""

_GLIBC = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}
"""The old names of platforms, by the minor version of the glibc that they mean (PEP 600)."""


class WheelhouseError(Exception):
    """The wheels could not be collected; the message says which one, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """The platform that the wheels must run on.

    Attributes:
        python: Version of Python, such as ``3.13``.
        glibc: Minor version of glibc 2.
        machine: As wheels name it: ``x86_64`` or ``aarch64``.
    """

    python: str
    glibc: int
    machine: str


def gather(requirements: Sequence[str], target: Path, image: Image, *, constraints: Path) -> list[Path]:
    """Write the wheels of ``requirements``, and ``requirements.txt``, to ``target``, and return the wheels.

    Args:
        requirements: As for pip; one that begins with ``.`` or ``/`` is a directory with a pyproject.toml, or a wheel,
            and may have extras.
        target: Directory that is replaced.
        image: The platform that the wheels must run on.
        constraints: pip's constraints file, with the versions to take.

    Raises:
        WheelhouseError: A wheel cannot be built or found. ``target`` is then unchanged.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
        new = Path(temporary) / target.name
        new.mkdir()
        named = [_build(requirement, new) for requirement in requirements]
        platforms = [f"--platform={platform}" for platform in platforms_of(image)]
        chosen = ["--only-binary=:all:", "--implementation=cp", f"--python-version={image.python}", *platforms]
        _pip("download", *chosen, f"--dest={new}", f"--find-links={new}", f"--constraint={constraints}", *named)
        wheels = sorted(new.glob("*.whl"))
        made_for = f"# --python {image.python} --glibc {image.glibc} --machine {image.machine}\n"
        (new / "requirements.txt").write_text(made_for + hashed(wheels), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        new.replace(target)
    return sorted(target.glob("*.whl"))


def hashed(wheels: Sequence[Path]) -> str:
    """Return pip's requirements file for ``wheels``: one line each, sorted, with version and sha256."""
    lines = []
    for wheel in wheels:
        name, version = _name_and_version(wheel)
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"{name}=={version} --hash=sha256:{digest}\n")
    return "".join(sorted(lines))


def platforms_of(image: Image) -> list[str]:
    """Return the platforms whose wheels run on ``image``, newest first; pip does not work them out by itself."""
    old = {minor: name for name, minor in _GLIBC.items()}
    names = []
    for minor in range(image.glibc, 4, -1):
        names.append(f"manylinux_2_{minor}_{image.machine}")
        names += [f"{old[minor]}_{image.machine}"] if minor in old else []
    return [*names, f"linux_{image.machine}"]


def lines_of(file: Path) -> list[str]:
    """Return the requirements in a file: one per line; ``#`` starts a comment.

    Raises:
        WheelhouseError: The file cannot be read.
    """
    try:
        lines = [line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise WheelhouseError(f"{file}: expected a file of requirements ({error})") from error
    return [line for line in lines if line]


def _build(requirement: str, target: Path) -> str:
    """Build the wheel of a requirement that is a directory, or copy a wheel; return the requirement for that wheel."""
    if not requirement.startswith((".", "/")):
        return requirement
    match = re.fullmatch(r"(?P<path>[^\[]+)(?P<extras>\[[^\]]*\])?", requirement)
    path = None if match is None else Path(match["path"])
    if match is None or path is None or not (_is_wheel(path) or (path / "pyproject.toml").is_file()):
        expected = "a wheel, or a directory with a pyproject.toml, perhaps with [extras]"
        raise WheelhouseError(f"{requirement}: expected {expected}")
    if _is_wheel(path):
        wheel = Path(shutil.copy(path, target))
    else:
        before = set(target.glob("*.whl"))
        _pip("wheel", "--no-deps", f"--wheel-dir={target}", str(path.resolve()))
        (wheel,) = set(target.glob("*.whl")) - before
    name, version = _name_and_version(wheel)
    return f"{name}{match['extras'] or ''}=={version}"


def _is_wheel(path: Path) -> bool:
    return path.suffix == ".whl" and path.is_file()


def _name_and_version(wheel: Path) -> tuple[str, str]:
    """Return name and version from the file name of a wheel (PEP 427); neither has a dash, and separators are equal."""
    name, version, *_ = wheel.name.split("-")
    return re.sub(r"[_.]+", "-", name).lower(), version


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", *arguments]
    try:
        subprocess.run(command, check=True, timeout=SECONDS, stdin=subprocess.DEVNULL)  # noqa: S603 - pip itself
    except subprocess.CalledProcessError as error:
        raise WheelhouseError(f"pip {arguments[0]} ended with {error.returncode}; it said why above") from error
    except subprocess.TimeoutExpired as error:
        raise WheelhouseError(f"pip {arguments[0]} did not end within {SECONDS:g} s") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 1 if the wheels could not be collected."""
    parser = argparse.ArgumentParser(description="Collect the wheels of an image.")
    parser.add_argument("requirements", nargs="*", help='such as "./runtime[onnx]" or "fastapi"')
    parser.add_argument("--file", type=Path, action="append", default=[], help="more requirements, one a line")
    parser.add_argument("--to", type=Path, required=True, help="directory that is replaced")
    parser.add_argument("--constraints", type=Path, default=ROOT / "constraints.txt", help="versions to take")
    parser.add_argument("--python", default="3.13", help="version of the image's Python (default: 3.13)")
    parser.add_argument("--glibc", type=int, default=36, help="minor version of the image's glibc 2 (default: 36)")
    parser.add_argument("--machine", default="x86_64", help="x86_64 (default) or aarch64")
    options = parser.parse_args(arguments)
    try:
        image = Image(python=options.python, glibc=options.glibc, machine=options.machine)
        requirements = [*options.requirements, *(line for file in options.file for line in lines_of(file))]
        if not requirements:
            parser.error("expected requirements, found none")
        wheels = gather(requirements, options.to, image, constraints=options.constraints)
    except WheelhouseError as error:
        print(f"wheelhouse: {error}", file=sys.stderr)  # noqa: T201 - a command line
        return 1
    size = sum(wheel.stat().st_size for wheel in wheels)
    print(f"{options.to}: {len(wheels)} wheels, {size:,} bytes")  # noqa: T201 - a command line
    return 0


if __name__ == "__main__":
    sys.exit(main())
