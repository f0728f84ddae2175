"""EnvironmentDetector in real containers: with the marker file and without, and with limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import thoth_models
from tests.docker.service_support import PYTHON_IMAGE, python_in, shared_images

pytestmark = pytest.mark.docker

CODE = """
import dataclasses, json, os, sys
for path in sys.argv[1:]:
    os.unlink(path)
from thoth_models.compat.environment_detector import EnvironmentDetector
found = dataclasses.asdict(EnvironmentDetector.describe())
print(json.dumps({**found, "bundle": str(found["bundle"])}))
"""
MOUNTED = (
    "--network=none",
    f"--volume={Path(thoth_models.__file__).parents[1]}:/runtime:ro",
    "--env=PYTHONPATH=/runtime",
)


@pytest.fixture(scope="module", autouse=True)
def _python_image() -> None:
    """Make the image that the containers run: Python, and nothing of ours."""
    shared_images()


def describe(*options: str, without: tuple[str, ...] = ()) -> dict[str, Any]:
    found: dict[str, Any] = python_in(PYTHON_IMAGE, CODE, *without, options=(*MOUNTED, *options))
    return found


def test_a_container_is_one_and_has_its_limits() -> None:
    found = describe("--cpus=0.5", "--memory=256m")
    assert found["is_container"] is True
    assert found["reasons"][0] == "/.dockerenv, which docker makes"
    assert found["cpu_quota"] == 0.5
    assert found["memory_limit"] == 256 * 2**20
    assert (found["cache"], found["download"], found["bundle"]) == ("read-only-bundle", "never", "/models")


def test_a_container_without_the_marker_file_is_one_by_its_mounts_or_group() -> None:
    """As in a build with BuildKit, and under engines that make no such file."""
    found = describe("--user=0", without=("/.dockerenv",))
    assert found["is_container"] is True
    assert all("dockerenv" not in reason for reason in found["reasons"])


def test_the_override_wins_in_a_container() -> None:
    found = describe("--env=THOTH_MODELS_CONTAINER=false")
    assert found["is_container"] is False
    assert found["reasons"] == ["THOTH_MODELS_CONTAINER=false"]
    assert (found["cache"], found["download"]) == ("local-bundle", "build-bundle")
