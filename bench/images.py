"""Measuring images: how long a layer takes to write, and what containers of one image take together.

Both need a Docker engine; where none answers, they are listed as failed, with the reason.
"""

from __future__ import annotations

import shutil
import sys
import time
import uuid
from typing import TYPE_CHECKING

from bench.containers import measure_sharing
from bench.materials import ROOT
from bench.processes import SubjectError, run
from bench.subjects import SYNTHETIC

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.materials import Materials
    from bench.results import Results

IMAGE = "image"
DOCKER_BUILD = "docker build"
"""The parts, as measurements name them."""

LAYER_RATE = "bytes of a bundle packed as an image per second, whole process"
CONTAINER_PSS = "pss of 1 container"
CONTAINERS_PSS = "pss of 4 containers"

_SECONDS = 1800.0


def measure_layers(
    materials: Materials, results: Results, repetitions: int, log_progress: Callable[[str], None]
) -> None:
    """Measure ``thoth-bundle image`` of a bundle, and ``docker build`` of the same bytes with COPY, in turns.

    Ours compares every byte twice on the way: the bundle before anything is written, and each file while it is packed.
    """
    bundle = materials.places.bundle(SYNTHETIC)
    if SYNTHETIC not in materials.bundles:
        results.fail(LAYER_RATE, IMAGE, "no bundle")
        return
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    layout = materials.places.work / "layout"
    dockerfile = materials.places.work / "Dockerfile"
    dockerfile.write_text("FROM scratch\nCOPY . /models/\n", encoding="ascii")
    tag = f"thoth-bench-{uuid.uuid4().hex[:12]}"
    ours: list[str | Path] = [
        sys.executable,
        "-m",
        "thoth_models_builder",
        "image",
        bundle,
        "--to",
        f"oci:{layout}",
        "--json",
    ]
    theirs: list[str | Path] = [
        "docker",
        "build",
        "--quiet",
        "--no-cache",
        f"--tag={tag}",
        f"--file={dockerfile}",
        bundle,
    ]
    try:
        for repetition in range(repetitions):
            for subject, command in ((IMAGE, ours), (DOCKER_BUILD, theirs)):
                log_progress(f"a layer of {size / 1e6:.0f} MB, {subject}, {repetition + 1} of {repetitions}")
                shutil.rmtree(layout, ignore_errors=True)
                results.add(LAYER_RATE, subject, repetition, size / _seconds(command))
    except SubjectError as error:
        results.fail(LAYER_RATE, DOCKER_BUILD, str(error))
    finally:
        shutil.rmtree(layout, ignore_errors=True)
        _forget(tag)


def measure_containers(
    materials: Materials, results: Results, repetitions: int, log_progress: Callable[[str], None]
) -> None:
    """Measure the memory of one container that holds the synthetic model, and of four of the same image at once."""
    if SYNTHETIC not in materials.bundles:
        results.fail(CONTAINERS_PSS, IMAGE, "no bundle")
        return
    name = f"thoth-bench-{uuid.uuid4().hex[:12]}"
    bundle = materials.places.bundle(SYNTHETIC)
    try:
        log_progress("an image of the synthetic model")
        load: list[str | Path] = [
            sys.executable,
            ROOT / "docker" / "load.py",
            bundle,
            "--required",
            f"--to=docker:{name}:latest",
        ]
        run(load, timeout=_SECONDS)
        for repetition in range(repetitions):
            log_progress(f"memory of containers, {repetition + 1} of {repetitions}")
            found = measure_sharing(name, SYNTHETIC)
            results.add(CONTAINER_PSS, IMAGE, repetition, found.alone)
            results.add(CONTAINERS_PSS, IMAGE, repetition, found.together)
    except SubjectError as error:
        results.fail(CONTAINERS_PSS, IMAGE, str(error))
    finally:
        _forget(name)


def _seconds(command: list[str | Path]) -> float:
    started = time.monotonic()
    run(command, timeout=_SECONDS)
    return time.monotonic() - started


def _forget(image: str) -> None:
    try:
        run(["docker", "image", "rm", "--force", image], timeout=_SECONDS)
    except SubjectError:
        return  # it was never made, or there is no engine
