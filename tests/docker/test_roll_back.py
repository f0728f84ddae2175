"""Going back to the previous image: one command, timed, with the project's compose file and a registry of images."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.docker.service_support import (
    DOCKER,
    address_of,
    buildkit_client,
    docker,
    docker_result,
    inspect,
    shared_images,
)
from tests.support.registry_server import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.docker, pytest.mark.torch, pytest.mark.onnx]

ROLL_BACK_SECONDS = 30.0
ROUNDS = 2
PROJECT = "thoth-roll-back"
QUESTION = {"question": "In which city do the customers live?", "workspace_id": 1, "functionality_level": "BASIC"}


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """The command of Docker Compose, as a plugin of the client or as a program of its own."""
    if docker_result("compose", "version").returncode == 0:
        return ["docker", "compose"]
    if program := shutil.which("docker-compose"):
        return [program]
    # A run of CI that has tested nothing must not be green.
    (pytest.fail if os.environ.get("CI") else pytest.skip)("Docker Compose is not installed")
    raise AssertionError


class Release:
    """What is deployed: an environment file with the image's digest, as the guides have it."""

    def __init__(self, file: Path, reference: str) -> None:
        self.file = file
        self.reference = reference
        file.write_text(f"EXAMPLE_SERVICE={reference}\n", encoding="utf-8")


class Deployment:
    """The compose file's service, brought up with an environment file."""

    def __init__(self, compose: list[str]) -> None:
        self._command = [*compose, "--project-name", PROJECT, "--file", str(DOCKER / "compose.yaml")]

    def up(self, release: Release) -> float:
        """Run the one command, and return how many seconds it took."""
        started = time.monotonic()
        self.run("--env-file", str(release.file), "up", "--detach")
        return time.monotonic() - started

    def run(self, *arguments: str) -> str:
        finished = subprocess.run(
            [*self._command, *arguments], capture_output=True, text=True, timeout=300, check=False
        )
        assert finished.returncode == 0, f"{arguments}: {finished.stdout}{finished.stderr}"
        return finished.stdout

    def container(self) -> str:
        (name,) = self.run("ps", "--quiet").split()
        return name

    def until(self, ready: bool, *, seconds: float = 60.0) -> dict[str, Any]:  # noqa: FBT001 - reads as a sentence
        """Return what ``/ready`` says once it says that, which a fixed number of other answers does not end."""
        deadline = time.monotonic() + seconds
        answer: dict[str, Any] = {}
        while time.monotonic() < deadline:
            try:
                answer = httpx2.get(f"http://{address_of(self.container())}:8020/ready", timeout=5).json()
            except httpx2.TransportError:
                answer = {"state": "does not listen"}
            if answer["state"] == ("ready" if ready else "failed"):
                return answer
            time.sleep(0.02)
        raise AssertionError(f"expected ready={ready} within {seconds:g} s, found {answer}")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(scope="module")
def releases(registry: RegistryServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Release, Release]]:
    """The example service, and a release of it that never gets ready: it expects a space that the bundle has not."""
    place = tmp_path_factory.mktemp("releases")
    base = shared_images().service("from")
    name = f"{registry.host}/sql-generator"
    found = []
    for number, setting in enumerate(("SERVICE_EXPECT_SPACE=", f"SERVICE_EXPECT_SPACE={'0' * 64}"), start=1):
        # As releases of one service mostly do, they share all large layers.
        (context := place / str(number)).mkdir()
        (context / "Dockerfile").write_text(f"FROM {base}\nENV {setting}\n", encoding="utf-8")
        build = ["build", "--network=none", "--tag", f"{name}:{number}", str(context)]
        built = docker_result(*build, client=buildkit_client())
        assert built.returncode == 0, built.stderr
        docker("push", f"{name}:{number}", timeout=300)
        (digest,) = (one for one in inspect(f"{name}:{number}")["RepoDigests"] if one.startswith(name))
        found.append(Release(place / f"{number}.env", digest))
    try:
        yield found[0], found[1]
    finally:
        docker("image", "rm", "--force", f"{name}:1", f"{name}:2", *(one.reference for one in found), check=False)


@pytest.fixture
def deployment(compose: list[str], releases: tuple[Release, Release]) -> Iterator[Deployment]:
    deployed = Deployment(compose)
    try:
        yield deployed
    finally:
        deployed.run("--env-file", str(releases[0].file), "down", "--volumes", "--timeout", "5")


@pytest.mark.parametrize("place", ["on the engine", "in the registry only"])
def test_one_command_goes_back_to_the_previous_digest(
    place: str, deployment: Deployment, releases: tuple[Release, Release], tell: Callable[[str], None]
) -> None:
    previous, current = releases
    deployment.up(previous)
    before = deployment.until(ready=True)
    commands, waits = [], []
    for _ in range(ROUNDS):
        deployment.up(current)
        # The gate of the roll-out: it stays closed, and says why.
        assert "SpaceMismatchError" in deployment.until(ready=False)["reason"]
        assert inspect(deployment.container())["Config"]["Image"] == current.reference
        if place == "in the registry only":
            docker("image", "rm", "--force", inspect(previous.reference)["Id"])
            assert docker_result("image", "inspect", previous.reference).returncode != 0

        started = time.monotonic()
        commands.append(deployment.up(previous))
        after = deployment.until(ready=True, seconds=ROLL_BACK_SECONDS)
        waits.append(time.monotonic() - started)

        assert inspect(deployment.container())["Config"]["Image"] == previous.reference
        assert (after["space"], after["bundle_digest"]) == (before["space"], before["bundle_digest"])
        address = f"http://{address_of(deployment.container())}:8020/generate-sql"
        assert httpx2.post(address, json=QUESTION, timeout=30).status_code == 200
    figures = ", ".join(f"{command:.1f}/{wait:.1f}" for command, wait in zip(commands, waits, strict=True))
    tell(f"roll-back, previous image {place}, seconds of the command / until ready: {figures}")
    assert max(waits) < ROLL_BACK_SECONDS
