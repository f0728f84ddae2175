"""The commands of every page: options, sessions, scripts and extras that are there.

Most are run by other tests, or are too large for one; none names what the programs no longer have.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import invented_model, make_bundle, make_writable
from tests.support.page_commands import Command, commands_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
PARSERS = {"thoth-bundle": "thoth_models_builder.cli.main", "thoth-models": "thoth_models.cli.main"}
PROJECTS = {"thoth-models": "runtime", "thoth-models-builder": "builder", "runtime": "runtime", "builder": "builder"}

COMMANDS = [
    pytest.param(command, id=f"{path.relative_to(ROOT).as_posix()}-{command.line}-{command.words[0]}")
    for path in PAGES
    for command in commands_of(path.read_text(encoding="utf-8"))
]

OF_THOTHAI = {"scripts/merge_pyproject.py"}
"""Scripts that the migration guides run in another repository."""

_SESSION = re.compile(r"^@nox\.session.*\ndef (\w+)\(", re.MULTILINE)
_EXTRAS = re.compile(r"(?:\./)?(?P<name>thoth-models(?:-builder)?|runtime|builder)\[(?P<extras>[\w,-]+)\]")


def parser_of(program: str) -> argparse.ArgumentParser:
    found = importlib.import_module(PARSERS[program])._parser()
    assert isinstance(found, argparse.ArgumentParser)
    return found


def problems(command: Command) -> list[str]:
    """What a command names that is not there."""
    found = []
    for program in PARSERS:
        arguments = command.arguments_of(program)
        if arguments is not None and not {"--help", "--version"} & set(arguments):
            try:
                parser_of(program).parse_args(arguments)
            except SystemExit:
                found.append(f"{program} does not take {arguments}")
    sessions = set(_SESSION.findall((ROOT / "noxfile.py").read_text(encoding="utf-8")))
    asked = command.arguments_of("nox")
    if asked is not None:
        own = asked[: asked.index("--")] if "--" in asked else asked
        names = [word for word in own[own.index("-s") + 1 :] if not word.startswith("-")] if "-s" in own else []
        found += [f"there is no session {name}" for name in names if name.partition("-")[0] not in sessions]
    script = command.arguments_of("python") or command.arguments_of("python3") or [""]
    if script[0].endswith(".py") and script[0] not in OF_THOTHAI and not (ROOT / script[0]).is_file():
        found.append(f"there is no script {script[0]}")
    for word in command.words:
        if match := _EXTRAS.fullmatch(word):
            project = tomllib.loads((ROOT / PROJECTS[match["name"]] / "pyproject.toml").read_text(encoding="utf-8"))
            extras = set(project["project"]["optional-dependencies"])
            found += [
                f"{match['name']} has no extra {name}" for name in match["extras"].split(",") if name not in extras
            ]
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_a_page_names_what_is_there(command: Command) -> None:
    assert problems(command) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("thoth-bundle build --stricter", "thoth-bundle does not take ['build', '--stricter']"),
        ("docker run --rm image thoth-models embedd", "thoth-models does not take ['embedd']"),
        ("docker run --entrypoint /app/thoth-models image embedd", "thoth-models does not take ['embedd']"),
        ("cd x && .venv/bin/thoth-models list --none", "thoth-models does not take ['list', '--none']"),
        ("pipx run nox -s gone -- -x", ""),
        ("nox -s lint gone -- -x", "there is no session gone"),
        ("python docker/gone.py --to x", "there is no script docker/gone.py"),
        ("pip install 'thoth-models[onnx,gone]'", "thoth-models has no extra gone"),
        ('pip install "./builder[gone]"', "builder has no extra gone"),
    ],
)
def test_what_is_not_there_would_be_seen(line: str, problem: str) -> None:
    found = [one for command in commands_of(f"```console\n$ {line}\n```\n") for one in problems(command)]
    assert found == ([problem] if problem else [])


def test_commands_are_split_as_a_shell_does() -> None:
    block = "```console\n$ A=1 one 'a b' | two >out  # why\noutput\n$ three \\\n    four; five\n```\n"
    assert [(command.line, command.words) for command in commands_of(block)] == [
        (2, ("one", "a b")),
        (2, ("two",)),
        (4, ("three", "four")),
        (4, ("five",)),
    ]
    assert [command.words for command in commands_of("```console\npip install x\n```\n")] == [("pip", "install", "x")]


# --- docs/images.md ---


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    make_bundle(tmp_path / "bundle", [invented_model("mini")], default="mini")
    yield tmp_path
    make_writable(tmp_path)


def test_the_first_commands_about_images_do_what_they_say(place: Path) -> None:
    commands = [
        c for c in commands_of((ROOT / "docs" / "images.md").read_text("utf-8")) if c.words[0] == "thoth-bundle"
    ]
    local = [command for command in commands if command.words[-1].startswith(("oci:", "docker-archive:"))]
    assert len(local) == 2
    for command in local:
        program = [sys.executable, "-m", "thoth_models_builder", *command.words[1:]]
        subprocess.run(program, check=True, cwd=place, capture_output=True, timeout=60)
    assert (place / "layout" / "index.json").is_file()
    assert (place / "image.tar").stat().st_size > 0


@pytest.mark.skipif(
    shutil.which("skopeo") is None or shutil.which("jq") is None, reason="skopeo and jq read the layout"
)
def test_another_tool_reads_the_labels_as_the_page_has_it(place: Path) -> None:
    program = [sys.executable, "-m", "thoth_models_builder", "image", "--to", "oci:layout"]
    subprocess.run(program, check=True, cwd=place, capture_output=True, timeout=60)
    (line,) = {c.text for c in commands_of((ROOT / "docs" / "images.md").read_text("utf-8")) if c.words[0] == "skopeo"}
    printed = subprocess.run(["bash", "-c", line], check=True, cwd=place, capture_output=True, text=True, timeout=60)
    assert '"thoth-models.bundle-digest": "sha256:' in printed.stdout
