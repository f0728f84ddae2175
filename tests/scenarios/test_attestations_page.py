"""docs/attestations.md, and the section of docs/bundle.md on releases: their commands, and what these print."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.attesting import Attestable
from tests.support.bundles import make_writable
from tests.support.pages import run_page
from tests.support.transcripts import Command, commands_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.signing
PAGE = "docs/attestations.md"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two bundles of one models.yaml, whose toolchain is installed here."""
    directories = ("unattested", "bundle")
    for directory in directories:
        Attestable(tmp_path, release=7, directory=directory, torch=None).write()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for directory in directories:
        make_writable(tmp_path / directory)


def run(line: str, place: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("THOTH_")}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        shlex.split(line), cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def expect(command: Command, place: Path) -> None:
    """Run a command of a page, which has to print the lines of the page and no others, and end as they say."""
    # Of a digest, the page shows four digits, and here it is another one.
    shown = [re.sub(r"\b[0-9a-f]{4}…", "…", line).replace("/srv", str(place)) for line in command.output]
    finished = run(command.line, place)
    printed = finished.stdout + finished.stderr
    assert finished.returncode == (1 if "verification failed" in "".join(shown) else 0), printed
    assert Command(command.line, tuple(shown)).missing(printed) == [], printed
    if shown:
        assert len(printed.splitlines()) == len(shown), printed


def test_each_command_of_the_page_prints_what_the_page_says(place: Path) -> None:
    commands = commands_of(PAGE)
    assert [command.line.split()[:2] for command in commands][2:] == [
        ["thoth-bundle", "sign"],
        ["thoth-bundle", "attest"],
        ["thoth-bundle", "verify"],
        ["thoth-bundle", "verify"],
    ]
    for command in commands:
        if "unattested" in command.line:
            assert run("thoth-bundle sign unattested --key release.key", place).returncode == 0
        expect(command, place)
    names = run_page(PAGE)
    assert names["provenance"]["buildDefinition"]["resolvedDependencies"][1]["name"] == "mini/config.json"


def test_the_commands_on_releases_print_what_the_page_says(place: Path) -> None:
    commands = [command for command in commands_of("docs/bundle.md") if "--min-release" in command.line]
    assert len(commands) == 2
    for command in commands:
        expect(command, place)
