"""The reference of both commands: what it shows is what the programs print."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.site.command_help import PLAIN, help_of, parsers

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def documented(page: str) -> argparse.ArgumentParser:
    """Return the parser that a page of the reference names."""
    (name,) = re.findall(r"^\.\. command-help:: (\S+)$", (REFERENCE / page).read_text(encoding="utf-8"), re.MULTILINE)
    module, _, function = name.partition(":")
    parser = getattr(importlib.import_module(module), function)()
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


@pytest.mark.parametrize(
    ("page", "module", "arguments"),
    [
        ("thoth-bundle.rst", "thoth_models_builder", ["lock"]),
        ("thoth-models.rst", "thoth_models", ["embed"]),
    ],
)
def test_the_page_shows_what_the_command_prints(page: str, module: str, arguments: list[str]) -> None:
    command = [sys.executable, "-m", module, *arguments, "--help"]
    environment = {**os.environ, **PLAIN}
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=60).stdout
    parser = documented(page)
    shown = {name: help_of(command) for name, _, command in parsers(parser)}
    assert shown[" ".join([parser.prog, *arguments])] == printed


@pytest.mark.parametrize("page", ["thoth-bundle.rst", "thoth-models.rst"])
def test_every_subcommand_is_there_with_a_line_about_it(page: str) -> None:
    parser = documented(page)
    found = list(parsers(parser))
    assert len(found) >= 4
    assert all(about and name.startswith(f"{parser.prog} ") for name, about, _ in found)


def test_the_terminal_of_the_build_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argparse.ArgumentParser(prog="x", description="word " * 60)
    wide = help_of(parser)
    monkeypatch.setenv("COLUMNS", "40")
    assert help_of(parser) == wide
    assert os.environ["COLUMNS"] == "40"
