"""The sections of docs/bundle.md on signatures: their commands, run one after the other, and what they print."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import invented_model, make_bundle, make_writable
from tests.support.projects import REPOSITORY
from tests.support.sigstore_simulator import Sigstore, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.signing
PAGE = (REPOSITORY / "docs" / "bundle.md").read_text(encoding="utf-8")
WITH_EXIT_CODE_1 = "thoth-models verify --root unsigned"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    make_bundle(tmp_path / "bundle", [invented_model("mini")])
    make_bundle(tmp_path / "unsigned", [invented_model("mini")])
    yield tmp_path
    make_writable(tmp_path / "bundle")
    make_writable(tmp_path / "unsigned")


def steps(section: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a section, each with the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    for line in "".join(re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)).splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line)
    return found


def normal(line: str, place: str) -> str:
    """Return a line without what differs: the place, digests and their beginnings, sizes and times."""
    line = re.sub(r"\b[0-9a-f]{8,64}\b…?", "DIGEST", line.replace(place, "/srv"))
    return re.sub(r"\d[\d,.]* (files|bytes|s)\b", r"N \1", line)


def run(section: str, place: Path, environment: dict[str, str]) -> None:
    """Run the commands of a section, and compare what they print."""
    for command, printed in steps(section):
        if command.startswith("export "):
            name, _, value = shlex.split(command)[1].partition("=")
            environment[name] = value
            continue
        finished = subprocess.run(
            shlex.split(command), cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert finished.returncode == (1 if command == WITH_EXIT_CODE_1 else 0), finished
        if not command.startswith("openssl"):
            said = [normal(line, str(place)) for line in (finished.stdout + finished.stderr).splitlines()]
            assert said == [normal(line, str(place)) for line in printed], command


@pytest.fixture
def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("THOTH_")}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONWARNINGS": "ignore"}


def test_each_command_of_the_section_prints_what_the_section_says(place: Path, environment: dict[str, str]) -> None:
    assert len(steps("Sign a bundle")) == 9
    run("Sign a bundle", place, environment)
    # The last command signed as another tool does, and the runtime accepts that as well.
    verify = [sys.executable, "-m", "thoth_models", "verify", "--root", "bundle"]
    subprocess.run(verify, cwd=place, env=environment, check=True, capture_output=True, timeout=60)


def test_each_command_of_the_section_without_a_key(place: Path, environment: dict[str, str]) -> None:
    """As a job of GitHub Actions, with a Sigstore instance of its own."""
    sigstore = Sigstore()
    assert len(steps("Sign a bundle without a key")) == 5
    with serve(sigstore) as url:
        (place / "sigstore.json").write_text(json.dumps(sigstore.trust_config(url)))
        job = {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{url}/job-token",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-job",
        }
        run("Sign a bundle without a key", place, environment | job)
