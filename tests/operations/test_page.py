"""The commands of docs/gates.md, on servers of this computer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.operations.gating import OPERATIONS, RIGHT, SECONDS, serving

PAGE = Path(__file__).parents[2] / "docs" / "gates.md"


def commands() -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [command for block in blocks for command in re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, flags=re.MULTILINE)]


def test_there_is_one_for_each_gate() -> None:
    words = [command.split()[3] for command in commands()]
    assert words == ["ready", "within", "watch", "watch", "compare", "memory"]


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.split()[3])
def test_a_command_of_the_page_passes(command: str, tmp_path: Path) -> None:
    shutil.copytree(OPERATIONS / "gates", tmp_path / "gates", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "questions.jsonl").write_text('{"question": "city"}\n', encoding="utf-8")
    (tmp_path / "compose").mkdir()
    (script := tmp_path / "compose" / "roll-out.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    script.chmod(0o755)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with serving(lambda number, body: RIGHT) as url:
        shorter = re.sub(r"http://127.0.0.1:\d+/", url, command).replace("--for 10m", "--for 1.5s")
        # Two servers that are the same differ by noise alone, of which a busy machine has much.
        shorter = f"{shorter} --max-slower 300%" if " compare " in shorter else shorter
        environment = {**os.environ, "PATH": path, "OLD": str(os.getpid()), "NEW": str(os.getpid())}
        done = subprocess.run(
            ["bash", "-c", shorter],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("within: ")


def test_links_lead_somewhere() -> None:
    for page in (PAGE, OPERATIONS / "README.md"):
        for target in re.findall(r"\]\(([^)#:]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), target
