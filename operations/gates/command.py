"""Running a command within a limit."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gates.verdict import BEYOND, WITHIN, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

STOP_SECONDS = 10.0
"""Time for a command to end after SIGTERM, before SIGKILL."""


@dataclass(frozen=True)
class Finished:
    """A command that ended; ``code`` is None where it was stopped at its limit."""

    code: int | None
    seconds: float


def run_command(command: Sequence[str], limit: float) -> Finished:
    """Run a command in a process group of its own, and stop all of it after ``limit`` seconds, or when this ends."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=sys.stderr.fileno(), start_new_session=True)  # noqa: S603 - the caller's
    try:
        code: int | None = process.wait(None if math.isinf(limit) else limit)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        if process.returncode is None:
            _stop(process)
    return Finished(code, time.monotonic() - started)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End all processes of the group; one that started others may be gone before them."""
    deadline = time.monotonic() + STOP_SECONDS
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)


def judge_command(finished: Finished, limit: float) -> Verdict:
    """Return whether a command succeeded in time."""
    figures: dict[str, Any] = {"command_seconds": round(finished.seconds, 3), "command_exit_code": finished.code}
    if finished.code is None:
        return Verdict(BEYOND, f"the command was stopped at its limit of {limit:g} s", figures)
    if finished.code != 0:
        return Verdict(BEYOND, f"the command failed with {finished.code}", figures)
    if finished.seconds > limit:
        return Verdict(BEYOND, f"the command took {finished.seconds:.1f} s, its limit is {limit:g} s", figures)
    bound = "" if math.isinf(limit) else f", within {limit:g} s"
    return Verdict(WITHIN, f"the command took {finished.seconds:.1f} s{bound}", figures)
