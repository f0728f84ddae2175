"""The Dockerfiles and the compose file: what every builder understands, and what no edit may loosen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"
DOCKERFILES = sorted(path.relative_to(DOCKER).as_posix() for path in DOCKER.rglob("Dockerfile*"))
NUMBERED_USER = "65532:65532"


def instructions(name: str) -> list[tuple[str, str]]:
    """Return each instruction of a Dockerfile with what follows it, on one line."""
    text = re.sub(r"^#.*\n", "", (DOCKER / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", " ", text)
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word]


def test_all_of_them_are_looked_at() -> None:
    assert DOCKERFILES == ["example-service/Dockerfile", "example-service/Dockerfile.copy-from", "runtime/Dockerfile"]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_no_frontend_has_to_be_fetched_and_the_classic_builder_understands_it(name: str) -> None:
    text = (DOCKER / name).read_text(encoding="utf-8")
    assert not re.search(r"^#\s*syntax\s*=", text, flags=re.IGNORECASE | re.MULTILINE)
    assert "<<" not in text
    assert not re.search(r"--(mount|network|security|link|chmod|parents|exclude)\b", text)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_every_base_can_be_chosen(name: str) -> None:
    stages = {rest.split(" AS ")[1] for word, rest in instructions(name) if word == "FROM" and " AS " in rest}
    for word, rest in instructions(name):
        if word == "FROM":
            assert re.match(r"\$\{(PYTHON_IMAGE|THOTH_MODELS)\}", rest)
        if word == "COPY" and rest.startswith("--from="):
            assert rest.partition("=")[2].split(" ")[0] in stages


@pytest.mark.parametrize("name", DOCKERFILES)
def test_packages_come_from_the_wheelhouse_and_are_compared(name: str) -> None:
    installs = [
        part for word, rest in instructions(name) if word == "RUN" for part in rest.split("&&") if " install " in part
    ]
    assert installs
    for install in installs:
        assert "--no-index" in install
        # A single wheel out of the base image was compared there.
        assert "--require-hashes" in install or "--no-deps /models-runtime/" in install


def test_the_images_run_as_a_numbered_user_with_a_healthcheck() -> None:
    for name in DOCKERFILES:
        final = instructions(name)
        final = final[max(index for index, (word, _) in enumerate(final) if word == "FROM") :]
        words = [word for word, _ in final]
        assert "HEALTHCHECK" in words
        users = [rest for word, rest in final if word == "USER"]
        # FROM thoth-models: the base image's own.
        assert users == ([] if name == "example-service/Dockerfile" else [NUMBERED_USER])


@pytest.mark.hostile
def test_the_compose_file_loosens_nothing() -> None:
    compose: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    (service,) = compose["services"].values()
    assert service["read_only"] is True
    assert service["user"] == NUMBERED_USER
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"pids_limit", "cpus", "mem_limit", "healthcheck", "tmpfs"} <= set(service)
    assert not {"privileged", "cap_add", "ports", "volumes", "network_mode", "devices", "pid", "ipc"} & set(service)
    assert all(compose["networks"][name]["internal"] is True for name in service["networks"])
