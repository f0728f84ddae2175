"""A signed bundle in the image: the runtime base with the extra ``signing`` verifies it with keys from a volume."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from bench.containers import HARDENED
from tests.docker.service_support import MODEL, docker_result, shared_images
from tests.support.projects import run_builder
from tests.support.signing import Key, make_key

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

pytestmark = [pytest.mark.docker, pytest.mark.torch, pytest.mark.onnx, pytest.mark.signing]


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Key]:
    """An image with a signed bundle, and the key."""
    images, work = shared_images(), tmp_path_factory.mktemp("signed")
    key = make_key(work)
    key.public_file.chmod(0o644)
    bundle = work / "bundle"
    shutil.copytree(images.bundle, bundle)
    target = images.tag("signed")
    for arguments in (
        ["sign", f"--key={key.file}", str(bundle)],
        ["image", f"--base=docker:{images.runtime('onnx,signing')}", f"--to=docker:{target}", str(bundle)],
    ):
        finished = run_builder(*arguments, timeout=600)
        assert finished.returncode == 0, finished.stderr
    return target, key


def doctor(image: str, key: Key) -> subprocess.CompletedProcess[str]:
    trust = ["--env=THOTH_TRUST=/trust.pub", f"--volume={key.public_file}:/trust.pub:ro"]
    return docker_result("run", "--rm", *HARDENED, *trust, image, "thoth-models", "doctor", "--model", MODEL)


def test_the_key_that_signed_it_is_trusted(signed: tuple[str, Key]) -> None:
    finished = doctor(*signed)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.hostile
def test_another_key_is_not(signed: tuple[str, Key], tmp_path: Path) -> None:
    other = make_key(tmp_path)
    other.public_file.chmod(0o644)
    finished = doctor(signed[0], other)
    assert finished.returncode != 0
    assert "/models.sig: signature: expected a signature by one of the 1" in finished.stderr
