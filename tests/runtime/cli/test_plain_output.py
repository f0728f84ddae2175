"""What is printed does not control the terminal, whatever the names in it."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import invented_model, make_bundle, opened
from thoth_models.bundle.hidden_characters import escaped
from thoth_models.cli.plain_output import plain_output

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    RunPython = Callable[..., subprocess.CompletedProcess[str]]

NAME = "weights\x1b[2J\x9b31m\u202e.txt"
SHOWN = r"weights\x1b[2J\x9b31m\u202e.txt"


def test_both_streams_are_plain_until_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with plain_output(escaped):
        print(f"one {NAME}")
        print(f"two {NAME}", file=sys.stderr)
        sys.stdout.writelines([f"three {NAME}\n"])
        handler = logging.StreamHandler()
        handler.emit(logging.makeLogRecord({"msg": f"four {NAME}"}))
    assert (sys.stdout, sys.stderr) == before
    printed = capsys.readouterr()
    assert printed.out == f"one {SHOWN}\nthree {SHOWN}\n"
    assert printed.err == f"two {SHOWN}\nfour {SHOWN}\n"


def test_a_console_of_rich_writes_its_own_control_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    console = pytest.importorskip("rich.console")  # the builder's
    with plain_output(escaped):
        console.Console(force_terminal=True, color_system="standard").print("[red]text[/red]")
    assert capsys.readouterr().out == "\x1b[31mtext\x1b[0m\n"


@pytest.mark.hostile
def test_a_name_in_a_bundle_reaches_the_terminal_as_an_escape(tmp_path: Path, run_python: RunPython) -> None:
    root = tmp_path / "bundle"
    make_bundle(root, [invented_model("mini")], default="mini")
    with opened(root):
        (root / NAME).write_bytes(b"")
    done = run_python("-m", "thoth_models", "verify", "--root", str(root))
    assert done.returncode == 1
    assert SHOWN in done.stderr
    assert not any(character in done.stderr for character in "\x1b\x9b\u202e")


@pytest.mark.hostile
def test_the_name_of_an_option_reaches_the_terminal_as_an_escape(tmp_path: Path, run_python: RunPython) -> None:
    done = run_python("-m", "thoth_models", "list", "--root", str(tmp_path / NAME))
    assert done.returncode == 4
    assert SHOWN in done.stderr
