"""The commands of docs/getting-started.md, as they stand, in an empty directory, with nothing but what is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import make_writable
from tests.support.hub_simulator import HubSimulator
from tests.support.pages import SOURCES
from tests.support.projects import environment_of_children
from tests.support.tiny_models import make_wordpiece_model
from tests.support.transcripts import Command, commands_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = "docs/getting-started.md"


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Path]:
    """An empty directory but for the reader's own model, which the page supposes."""
    place = tmp_path / "empty"
    place.mkdir()
    # The same files as the repository's, so that they are compiled once.
    make_wordpiece_model(place / "our-model")
    yield place
    make_writable(place)


def run(command: str, place: Path, endpoint: str) -> subprocess.CompletedProcess[str]:
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = environment_of_children(
        PATH=places,
        HF_ENDPOINT=endpoint,
        HF_HUB_OFFLINE="0",
        TRANSFORMERS_OFFLINE="0",
        NO_PROXY="127.0.0.1",
        THOTH_STORE=str(place.parent / "store"),
    )
    return subprocess.run(
        ["bash", "-c", command], cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.torch
@pytest.mark.onnx
def test_the_page_as_a_newcomer_follows_it(empty: Path) -> None:
    commands = commands_of(PAGE)
    assert len(commands) < 10
    used = {command.line.split()[1] for command in commands}
    assert used >= {"init", "add", "lock", "build", "report", "list", "embed"}
    files = {
        path.relative_to(empty / "our-model").as_posix(): path
        for path in (empty / "our-model").rglob("*")
        if path.is_file()
    }
    with HubSimulator() as hub:
        hub.add_model("BAAI/bge-small-en-v1.5", files)
        for command in commands:
            finished = run(command.line, empty, hub.endpoint)
            assert (finished.returncode, "Traceback" in finished.stderr) == (0, False), finished.stderr
            assert command.missing(finished.stdout) == [], finished.stdout


def test_the_page_installs_in_an_environment_and_leaves_the_checkout(tmp_path: Path) -> None:
    """Where the checkout has a models.yaml, and Debian's pip refuses to install outside an environment."""
    (block,) = re.findall(
        r"^```text\n(.*?)^```$", (SOURCES / PAGE).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    lines = "".join(f"{line}\n" for line in block.splitlines() if not line.startswith("pip "))
    assert block.splitlines()[0].startswith("python3 -m venv ")
    fake = "python3() { mkdir -p $3/bin; echo 'VIRTUAL_ENV=made' >$3/bin/activate; }\n"
    where = subprocess.run(
        ["bash", "-ec", f'{fake}{lines}echo "$VIRTUAL_ENV"; pwd; ls'],
        cwd=SOURCES,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert where.stdout.splitlines() == ["made", str(tmp_path / "models")]


def test_a_line_that_is_not_printed_would_be_seen() -> None:
    command = Command("x", ("a … c", "d"))
    assert command.missing("first\na b c\nd\n") == []
    assert command.missing("d\na b c\n") == ["d"]
    assert command.missing("a b\nd\n") == ["a … c"]
