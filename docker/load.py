# ruff: noqa: INP001 - a script beside the Dockerfiles, not part of a package
"""Load ``thoth-models`` into the Docker engine: the runtime base, with the layers of a bundle on top.

``nox -s build_bundle`` runs ``python docker/load.py bundle`` as its last step. It asks the Python base image for its
version and platform, collects the wheels for it, builds ``thoth-models-runtime``, and appends the layers with
``thoth-bundle image``. Unless ``--to`` says otherwise, the image is called ``thoth-models:latest``, by the name of the
bundle, and ``thoth-models:1``, with which the Dockerfiles of the documentation begin. If no engine answers, or the
Python base image is not available, it prints the reason and succeeds, because the bundle and its layout exist.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCKER = Path(__file__).resolve().parent
PYTHON_IMAGE = "python:3.13-slim"
RUNTIME_IMAGE = "thoth-models-runtime"
LATEST, FIRST = "latest", "1"
"""The tags of the image: the one that ``thoth-bundle image`` gives by itself, and that of the documentation."""

_ASK_SECONDS, _BUILD_SECONDS = 120.0, 1800.0
_PROBE = """
import json, platform, sys
print(json.dumps([".".join(map(str, sys.version_info[:2])), platform.libc_ver()[1], platform.machine()]))
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or the exit code of the step that failed."""
    parser = argparse.ArgumentParser(description="Make thoth-models:TAG in the Docker engine that answers.")
    parser.add_argument("bundle", type=Path, help="the bundle")
    parser.add_argument(
        "--to",
        metavar="DESTINATION",
        help="as thoth-bundle image has it (default: docker, and the tag 1 for the same image)",
    )
    parser.add_argument(
        "--requirement",
        default="./runtime[onnx]",
        help='or "./runtime[onnx,torch]", or a wheel: "./dist/NAME.whl[onnx]"',
    )
    parser.add_argument(
        "--python-image",
        default=os.environ.get("PYTHON_IMAGE") or PYTHON_IMAGE,
        help=f"the base with Python (default: PYTHON_IMAGE of the environment, else {PYTHON_IMAGE})",
    )
    parser.add_argument("--required", action="store_true", help="fail where there is no engine or no Python base image")
    options = parser.parse_args(arguments)
    if reason := _missing(options.python_image):
        print(f"not loaded into an engine: {reason}")  # noqa: T201 - a command line
        return 1 if options.required else 0
    probe = _output("docker", "run", "--rm", "--network=none", options.python_image, "python3", "-c", _PROBE)
    python, glibc, machine = json.loads(probe)
    wheelhouse = DOCKER / "runtime" / "wheelhouse"
    image = [f"--python={python}", f"--glibc={glibc.removeprefix('2.')}", f"--machine={machine}"]
    steps = [
        [sys.executable, str(DOCKER / "wheelhouse.py"), f"--to={wheelhouse}", *image, options.requirement],
        [
            *("docker", "build", "--quiet", f"--tag={RUNTIME_IMAGE}"),
            *(f"--build-arg=PYTHON_IMAGE={options.python_image}", str(DOCKER / "runtime")),
        ],
        [
            *(sys.executable, "-m", "thoth_models_builder", "image", str(options.bundle)),
            *("--base", f"docker:{RUNTIME_IMAGE}", "--to", options.to or "docker"),
        ],
    ]
    if options.to is None:
        name = json.loads((DOCKER.parent / options.bundle / "manifest.json").read_bytes())["bundle"]["name"]
        steps.append(["docker", "tag", f"{name}:{LATEST}", f"{name}:{FIRST}"])
    for step in steps:
        finished = subprocess.run(step, check=False, timeout=_BUILD_SECONDS, cwd=DOCKER.parent)  # noqa: S603 - our own
        if finished.returncode != 0:
            print(f"{' '.join(step)}: ended with {finished.returncode}", file=sys.stderr)  # noqa: T201
            return finished.returncode
    return 0


def _missing(image: str) -> str | None:
    """Return the reason why ``image`` cannot be used as a base, or None."""
    try:
        _output("docker", "version", "--format={{.Server.Version}}")
    except (OSError, subprocess.SubprocessError) as error:
        return f"no Docker engine answers ({_reason(error)})"
    try:
        _output("docker", "image", "inspect", "--format={{.Id}}", image)
    except subprocess.SubprocessError:
        try:
            _output("docker", "pull", "--quiet", image)
        except subprocess.SubprocessError as error:
            return (
                f"{image} is not in the engine and cannot be pulled ({_reason(error)}); PYTHON_IMAGE names another one"
            )
    return None


def _reason(error: Exception) -> str:
    words = str(getattr(error, "stderr", None) or error).strip().splitlines()
    return words[-1] if words else type(error).__name__


def _output(*command: str) -> str:
    finished = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_ASK_SECONDS)  # noqa: S603
    return finished.stdout


if __name__ == "__main__":
    sys.exit(main())
