"""The section of docs/bundle.md on signatures: its commands, run one after the other, and what they print."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.signing
SECTION = (
    (REPOSITORY / "docs" / "bundle.md").read_text(encoding="utf-8").split("## Sign a bundle\n")[1].split("\n## ")[0]
)
BLOCKS = re.findall(r"^```console\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)
WITH_EXIT_CODE_1 = "thoth-models verify --root unsigned"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    make_bundle(tmp_path / "bundle", [invented_model("mini")])
    make_bundle(tmp_path / "unsigned", [invented_model("mini")])
    yield tmp_path
    make_writable(tmp_path / "bundle")
    make_writable(tmp_path / "unsigned")


def steps() -> list[tuple[str, list[str]]]:
    """Return the commands of the section, each with the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in "".join(BLOCKS).splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line)
    return found


def normal(line: str, place: str) -> str:
    """Return a line without what differs: the place, digests and their beginnings, sizes and times."""
    line = re.sub(r"\b[0-9a-f]{8,64}\b…?", "DIGEST", line.replace(place, "/srv"))
    return re.sub(r"\d[\d,.]* (files|bytes|s)\b", r"N \1", line)


def test_each_command_of_the_section_prints_what_the_section_says(place: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("THOTH_")}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONWARNINGS": "ignore"}
    assert len(steps()) == 9
    for command, printed in steps():
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
    # The last command signed as another tool does, and the runtime accepts that as well.
    verify = [sys.executable, "-m", "thoth_models", "verify", "--root", "bundle"]
    subprocess.run(verify, cwd=place, env=environment, check=True, capture_output=True, timeout=60)
