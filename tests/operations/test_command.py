from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gates import command
from gates.command import Finished, judge_command, run_command
from gates.verdict import BEYOND, WITHIN
from tests.operations.gating import OPERATIONS, SECONDS, figures


def until_gone(pid: int) -> None:
    """Wait until a process has ended; one whose parent has not asked yet has, too."""
    deadline = time.monotonic() + SECONDS
    while Path(f"/proc/{pid}").exists() and ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8"):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.02)


def until_written(file: Path) -> int:
    deadline = time.monotonic() + SECONDS
    while not file.exists() or not file.read_text(encoding="utf-8").strip():
        assert time.monotonic() < deadline, f"{file} was not written"
        time.sleep(0.02)
    return int(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("finished", "limit", "code"),
    [
        (Finished(0, 299.0), 300.0, WITHIN),
        (Finished(0, 301.0), 300.0, BEYOND),
        (Finished(None, 300.0), 300.0, BEYOND),
        (Finished(7, 1.0), 300.0, BEYOND),
        (Finished(-9, 1.0), 300.0, BEYOND),
        (Finished(0, 1e6), math.inf, WITHIN),
    ],
)
def test_a_command_succeeds_in_time_or_it_does_not(finished: Finished, limit: float, code: int) -> None:
    assert judge_command(finished, limit).code == code


def test_the_time_and_the_exit_code_of_a_command_are_printed() -> None:
    code, printed = figures("within", "1m", "--", "sh", "-c", "echo words; exit 3")
    assert (code, printed["command_exit_code"]) == (BEYOND, 3)
    assert 0 < printed["command_seconds"] < SECONDS


def test_a_command_is_stopped_at_its_limit_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    finished = run_command(["sh", "-c", f"sleep 600 & echo $! >{child}; wait"], 1.0)
    assert finished.code is None
    until_gone(until_written(child))


@pytest.mark.parametrize(
    "script", ["trap '' TERM; echo $$ >{own}; exec sleep 60", "(trap '' TERM; exec sleep 60) & echo $! >{own}; wait"]
)
def test_what_does_not_listen_is_killed(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command itself, or one that it started and that is still there when it is gone."""
    monkeypatch.setattr(command, "STOP_SECONDS", 0.5)
    own = tmp_path / "own"
    finished = run_command(["sh", "-c", script.format(own=own)], 1.0)
    assert finished.code is None
    until_gone(until_written(own))


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_with_the_gate(ending: signal.Signals, tmp_path: Path) -> None:
    own = tmp_path / "own"
    arguments = [sys.executable, "-m", "gates", "within", "1h", "--", "sh", "-c", f"echo $$ >{own}; exec sleep 600"]
    gate = subprocess.Popen(arguments, cwd=OPERATIONS)
    pid = until_written(own)
    os.kill(gate.pid, ending)
    assert gate.wait(SECONDS) == 128 + ending
    until_gone(pid)
