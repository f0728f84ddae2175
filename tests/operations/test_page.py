"""The commands of docs/gates.md, on servers of this computer; of those of docs/migration/roll-out.md, the usage.

tests/docker/test_roll_out.py runs the latter on the stack.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.operations.gating import OPERATIONS, RIGHT, serving, shell

if TYPE_CHECKING:
    import subprocess

PAGE = Path(__file__).parents[2] / "docs" / "gates.md"
ROLL_OUT = PAGE.parent / "migration" / "roll-out.md"

PARSES = "import sys; from gates.__main__ import _parsed; _parsed(sys.argv[3:])"
"""In place of ``python3 -m gates``: ends with 2 for wrong usage, and does nothing else."""


def commands(page: Path = PAGE) -> list[str]:
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [command for block in blocks for command in re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, flags=re.MULTILINE)]


def test_there_is_one_for_each_gate() -> None:
    words = [command.split()[3] for command in commands()]
    assert words == ["ready", "within", "watch", "watch", "compare", "memory"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the pages suppose: a copy of operations/, of which the script does nothing, and questions."""
    shutil.copytree(OPERATIONS / "gates", tmp_path / "gates", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "questions.jsonl").write_text('{"question": "city"}\n', encoding="utf-8")
    (tmp_path / "compose").mkdir()
    (script := tmp_path / "compose" / "roll-out.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    script.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.split()[3])
def test_a_command_of_the_page_passes(command: str, folder: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with serving(lambda number, body: RIGHT) as url:
        shorter = re.sub(r"http://127.0.0.1:\d+/", url, command).replace("--for 10m", "--for 1.5s")
        # Two servers that are the same differ by noise alone, of which a busy machine has much.
        shorter = f"{shorter} --max-slower 300%" if " compare " in shorter else shorter
        environment = {**os.environ, "PATH": path, "OLD": str(os.getpid()), "NEW": str(os.getpid())}
        done = shell(shorter, folder, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("within: ")


def usage(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the shell whose ``python3 -m gates`` only reads its arguments."""
    (programs := folder / "programs").mkdir(exist_ok=True)
    (fake := programs / "python3").write_text(
        f"#!/bin/sh\nexec {sys.executable} -c '{PARSES}' \"$@\"\n", encoding="utf-8"
    )
    fake.chmod(0o755)
    environment = {**os.environ, "PATH": os.pathsep.join([str(programs), os.environ["PATH"]])}
    return shell(command, folder, environment)


def test_the_roll_out_uses_each_gate_as_it_is_and_compares_the_bundle(folder: Path) -> None:
    gates = [command for command in commands(ROLL_OUT) if " -m gates " in command]
    assert [command.split()[3] for command in gates] == [
        "ready",
        "compare",
        "memory",
        "watch",
        "watch",
        "memory",
        "watch",
    ]
    release = folder / "next.env"
    release.write_text(f"SQL_GENERATOR_IMAGE=x\nBUNDLE_DIGEST={'ab' * 32}\n", encoding="utf-8")
    for command in gates:
        done = usage(command, folder)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
    # Without the digest nothing would be compared.
    release.write_text("SQL_GENERATOR_IMAGE=x\n", encoding="utf-8")
    done = usage(gates[0], folder)
    assert done.returncode == 2
    assert "argument --bundle: expected 64 hexadecimal digits, found ''" in done.stderr


def test_links_lead_somewhere() -> None:
    for page in (PAGE, ROLL_OUT, OPERATIONS / "README.md"):
        for target in re.findall(r"\]\(([^)#:]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), target
