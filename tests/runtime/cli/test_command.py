"""The exit code says what happened, whatever becomes of the output, the locale, or a file's name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from thoth_models.cli.command import run_command

if TYPE_CHECKING:
    from collections.abc import Callable

ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("buffering", ["", "1"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_output_that_is_full_is_no_failed_verification(bundle: Path, options: list[str], buffering: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")
    with Path("/dev/full").open("wb") as full:
        finished = subprocess.run(
            [sys.executable, "-m", "thoth_models", "verify", "--root", str(bundle), *options],
            env={**os.environ, "PYTHONUNBUFFERED": buffering},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert finished.returncode == 4
    assert "No space left on device\n" in finished.stderr
    assert len([line for line in finished.stderr.splitlines() if not line.startswith("hint: ")]) == 1


@pytest.mark.parametrize("buffering", ["", "1"])
def test_a_reader_that_goes_away_is_no_failed_verification(bundle: Path, buffering: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        finished = subprocess.run(
            [sys.executable, "-m", "thoth_models", "list", "--root", str(bundle)],
            env={**os.environ, "PYTHONUNBUFFERED": buffering},
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert finished.returncode == 4
    assert finished.stderr == ""


def test_json_is_json_in_every_locale(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    finished = run_python("-m", "thoth_models", "list", "--root", "/dé/\udcff", "--json", environment=ASCII)
    assert finished.returncode == 4
    assert "/d" in json.loads(finished.stdout)["message"]
    assert finished.stderr == ""


def test_an_error_can_be_printed_in_every_locale(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    finished = run_python("-m", "thoth_models", "list", "--root", "/dé", environment=ASCII)
    assert finished.returncode == 4
    assert "Traceback" not in finished.stderr
    assert finished.stderr.startswith("thoth-models: expected a bundle directory at /d")


def test_an_output_that_was_closed_is_no_failed_verification(bundle: Path) -> None:
    command = [sys.executable, "-m", "thoth_models", "verify", "--root", str(bundle)]
    finished = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_libraries_print_goes_to_standard_error(
    run_python: Callable[..., subprocess.CompletedProcess[str]], unbuffered: str
) -> None:
    script = (
        "import os\n"
        "from thoth_models.cli.command import diverted_output\n"
        "print('result')\n"
        "with diverted_output():\n"
        "    print('library')\n"
        "    os.write(1, b'below Python\\n')\n"
        "print('result')\n"
    )
    done = run_python("-c", script, environment={"PYTHONUNBUFFERED": unbuffered})
    assert done.stdout == "result\nresult\n"
    assert done.stderr == "library\nbelow Python\n"


def test_without_memory_there_is_a_message_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []

    def run() -> int:
        raise MemoryError

    def report(error: Exception) -> int:
        said.append(f"{type(error).__name__}: {error}")
        return 4

    assert run_command(run, report) == 4
    assert said == ["MemoryError: expected memory for the next step, found none left"]
    assert capsys.readouterr().err == ""
