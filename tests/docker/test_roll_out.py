"""Rolling out and back with operations/compose: two replicas, traffic, and the limits of docs/migration/roll-out.md."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.docker.service_support import (
    OWN_PYTHON_IMAGE,
    PYTHON_IMAGE,
    ROOT,
    buildkit_client,
    docker,
    docker_result,
    inspect,
    shared_images,
)
from tests.support.registry_server import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.docker, pytest.mark.torch, pytest.mark.onnx, pytest.mark.alone]

PAGE = ROOT / "docs" / "migration" / "roll-out.md"
PROJECT = "thoth-roll-out"
PORTS = {"SQL_GENERATOR_LISTEN": 8020, "REPLICA_1_PORT": 8021, "REPLICA_2_PORT": 8022, "CANARY_PORT": 8029}
WATCH = 'python3 -m gates watch http://127.0.0.1:8020/generate-sql --body @questions.jsonl --expect \'"phase": "sql"\''


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


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(scope="module")
def references(registry: RegistryServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Two releases of the example service in a registry, by digest; as such mostly do, they share all large layers."""
    context, base = tmp_path_factory.mktemp("releases"), shared_images().service("from")
    name = f"{registry.host}/sql-generator"
    found = []
    for number in (1, 2):
        (context / "Dockerfile").write_text(f"FROM {base}\nENV RELEASE={number}\n", encoding="utf-8")
        build = ["build", "--network=none", "--tag", f"{name}:{number}", str(context)]
        built = docker_result(*build, client=buildkit_client())
        assert built.returncode == 0, built.stderr
        docker("push", f"{name}:{number}", timeout=300)
        (digest,) = (one for one in inspect(f"{name}:{number}")["RepoDigests"] if one.startswith(name))
        found.append(digest)
    try:
        yield found[0], found[1]
    finally:
        docker("image", "rm", "--force", f"{name}:1", f"{name}:2", *found, check=False)


@dataclass(frozen=True)
class Done:
    """What a gate, or another command, printed, and how it ended."""

    code: int
    printed: str

    def figure(self, name: str) -> float:
        """Return a figure that a gate printed."""
        (found,) = re.findall(rf"^{name}: (\S+)$", self.printed, flags=re.MULTILINE)
        return float(found)


class Stack:
    """A copy of operations/ with the environment files of releases beside it."""

    def __init__(self, place: Path, compose: list[str], references: tuple[str, str]) -> None:
        self.place = place
        shutil.copytree(ROOT / "operations", place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        self.images = {"previous": references[0], "next": references[1], "bad": references[1]}
        for name, image in self.images.items():
            # The bundle has no model of that space: this release never gets ready.
            setting = f"SERVICE_EXPECT_SPACE={'0' * 64}\n" if name == "bad" else ""
            (place / f"{name}.env").write_text(f"SQL_GENERATOR_IMAGE={image}\n{setting}", encoding="utf-8")
        # One keyword, one text: what is measured is the way to the replicas, and not how much two cores can encode.
        (question,) = re.findall(r"^```json\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        (place / "questions.jsonl").write_text(question, encoding="utf-8")
        self.ports = {port: _free_port() for port in PORTS.values()}
        ports = {name: str(self.ports[port]) for name, port in PORTS.items()}
        ports["SQL_GENERATOR_LISTEN"] = f"127.0.0.1:{ports['SQL_GENERATOR_LISTEN']}"
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self._environment = {**os.environ, **ports, "COMPOSE_PROJECT_NAME": PROJECT, "PATH": programs}
        if PYTHON_IMAGE == OWN_PYTHON_IMAGE:  # which has HAProxy; else that of compose.yaml can be pulled as well
            self._environment["HAPROXY_IMAGE"] = PYTHON_IMAGE
        self._compose = " ".join(compose)

    def run(self, script: str, *, place: Path | None = None) -> Done:
        """Run lines of bash with the stack's own ports; the first that fails ends them."""
        for port, free in self.ports.items():
            script = script.replace(f":{port}", f":{free}")
        environment = {**self._environment, "THOTH_STORE": os.environ.get("THOTH_TEST_STORE", "")}
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(
            command,
            cwd=place or self.place,
            env={name: value for name, value in environment.items() if value},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return Done(done.returncode, done.stdout)

    def succeed(self, script: str, *, place: Path | None = None) -> Done:
        """Run lines that must all succeed."""
        done = self.run(script, place=place)
        assert done.code == 0, done.printed
        return done

    def compose(self, release: str, arguments: str) -> str:
        """Return a line that runs Compose itself, as roll-out.sh does."""
        files = f"--file compose/compose.yaml --env-file {release}.env --profile canary"
        return f"{self._compose} {files} {arguments}"

    def container(self, service: str) -> str:
        filters = (f"project={PROJECT}", f"service={service}")
        options = [f"--filter=label=com.docker.compose.{one}" for one in filters]
        (found,) = docker("ps", "--quiet", *options).split()
        return found

    def released(self, *services: str) -> tuple[str, ...]:
        """Return the image that each of some instances was started from."""
        return tuple(inspect(self.container(service))["Config"]["Image"] for service in services)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def _stack(
    compose: list[str], references: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    deployed = Stack(tmp_path_factory.mktemp("operations"), compose, references)
    try:
        yield deployed
    finally:
        deployed.succeed(deployed.compose("previous", "down --volumes --timeout 5"))


@pytest.fixture
def stack(_stack: Stack) -> Stack:
    """The stack, with both replicas of the previous release."""
    _stack.succeed("compose/roll-out.sh replicas previous.env")
    return _stack


def blocks() -> list[str]:
    """Return the commands of each console block of the page, as lines of bash."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        commands = re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, flags=re.MULTILINE)
        found.append("\n".join(commands))
    return found


def test_the_page_takes_a_release_out_and_back_and_a_bad_one_gets_no_traffic(
    stack: Stack, tell: Callable[[str], None]
) -> None:
    """In one test, since each container that is replaced takes seconds."""
    previous, following = stack.images["previous"], stack.images["next"]
    written, start, bundle, image, canary, replicas, hold, back = blocks()
    stack.succeed(written)
    stack.succeed(start)
    assert stack.released("replica-1", "replica-2") == (previous, previous)

    # Where the bundle is built, which is not where it is operated.
    project = shared_images().bundle.parent
    (project / "bundle-of-the-running-release").symlink_to("bundle")
    printed = stack.succeed(bundle, place=project).printed
    (digest,) = re.findall(r"^([0-9a-f]{64})  bundle/manifest.json$", printed, re.MULTILINE)
    with (stack.place / "next.env").open("a", encoding="utf-8") as file:
        file.write(f"BUNDLE_DIGEST={digest}\n")

    stack.succeed(image)

    done = beside = stack.succeed(canary)
    assert stack.released("canary") == (following,)
    assert stack.released("replica-1", "replica-2") == (previous, previous)
    slower, memory = re.findall(r"^ratio: (\S+)$", done.printed, flags=re.MULTILINE)
    tell(f"the same service as a canary: {slower} x the time, {memory} x the memory")

    done = stack.succeed(replicas)
    assert stack.released("replica-1", "replica-2") == (following, following)
    assert (done.figure("failed"), done.figure("command_exit_code")) == (0, 0)
    tell(f"roll-out, two replicas: {done.figure('command_seconds'):.1f} s, {done.figure('requests'):.0f} requests")

    assert "--for 10m" in hold
    (before,) = re.findall(r"^old: (bytes:\S+)$", beside.printed, re.MULTILINE)
    stack.succeed(re.sub(r"bytes:[\d+]+", before, hold.replace("--for 10m", "--for 3s")))

    done = stack.run(replicas.replace("next.env", "bad.env"))
    assert done.code == 1
    assert "SpaceMismatchError" in done.printed
    assert (done.figure("command_exit_code"), done.figure("failed")) == (1, 0)
    assert stack.released("replica-1", "replica-2") == (stack.images["bad"], following)

    # As on another computer, or after the engine was cleaned up: the previous image is in the registry only.
    docker("image", "rm", "--force", inspect(previous)["Id"])
    assert docker_result("image", "inspect", previous).returncode != 0
    done = stack.succeed(back)
    assert stack.released("replica-1", "replica-2") == (previous, previous)
    assert done.figure("failed") == 0
    tell(f"roll-back, two replicas, image in the registry only: {done.figure('command_seconds'):.1f} s")


def test_both_replicas_at_once_lose_requests_and_the_gate_says_so(stack: Stack, tell: Callable[[str], None]) -> None:
    """The control: what Compose does by itself is no roll-out without an interruption."""
    done = stack.run(f"{WATCH} -- {stack.compose('next', 'up --detach replica-1 replica-2')}")
    assert done.code == 1, done.printed
    assert done.figure("command_exit_code") == 0
    assert done.figure("failed") > 0
    assert "503 Service Unavailable" in done.printed
    tell(f"both replicas at once: {done.figure('failed'):.0f} of {done.figure('requests'):.0f} requests were lost")
