"""A recipe as its test sees it: the page's code, a process to run it in, and what that process tried to reach."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.support.pages import SOURCES, blocks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

SECONDS = 240.0
"""Many times what any recipe takes, so that one that hangs fails."""

TOLERANCE = 1e-5
"""A vector depends on the batch of its text from the seventh digit on."""

_NAMED = re.compile(r"# (\w+\.py)\n")
_WATCHING = Path(__file__).parent / "watching"


@dataclass(frozen=True)
class Ran:
    """What became of a recipe's process."""

    code: int | None
    """Exit status; None for a process that did not end in time."""
    output: str
    attempts: tuple[str, ...]
    """Connections and lookups of other machines, each with its host."""
    watched: int
    """Processes whose connections were watched."""


@dataclass(frozen=True)
class Runner:
    """Where recipes run: an empty directory, and a bundle."""

    place: Path
    bundle: Path

    def run(
        self,
        code: str,
        check: Callable[[dict[str, Any]], None],
        environment: Mapping[str, str] | None = None,
        seconds: float = SECONDS,
        seconds_after_attempt: float = SECONDS,
    ) -> Ran:
        """Run code as a program, then ``check`` over its names.

        Its processes are killed when it has run for so long, or for so long after it first tried to leave the machine.
        """
        (self.place / "recipe.py").write_text(code, encoding="utf-8")
        watched = self.place / "connections.txt"
        watched.write_text("", encoding="utf-8")
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("COV_")},
            "CONNECTIONS_FILE": str(watched),
            "HOME": str(self.place),
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            "PYTHONPATH": os.pathsep.join((str(_WATCHING), str(SOURCES))),
            "THOTH_MODELS_DIR": str(self.bundle),
            **(environment or {}),
        }
        log = self.place / "output.txt"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.recipes.driver", "recipe.py", check.__module__, check.__name__],
                cwd=self.place,
                env=variables,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            end = time.monotonic() + seconds
            try:
                while process.poll() is None and time.monotonic() < end:
                    time.sleep(0.05)
                    if seconds_after_attempt < SECONDS and _read(watched)[0]:
                        end = min(end, time.monotonic() + seconds_after_attempt)
                        seconds_after_attempt = SECONDS
                code_of_exit = process.poll()
            finally:
                # Also what a recipe that ended has left: workers are in its group.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        attempts, processes = _read(watched)
        return Ran(code_of_exit, log.read_text(errors="replace"), attempts, processes)

    def follow(
        self,
        page: str,
        check: Callable[[dict[str, Any]], None],
        *,
        environment: Mapping[str, str] | None = None,
        tolerated: Collection[str] = (),
    ) -> Ran:
        """Do what a page says, and check it: it must end well, and nothing may have tried to leave the machine.

        Other than to the hosts of ``tolerated``, which the page names, as it does the variables of the environment.
        """
        text = (SOURCES / "docs" / "recipes" / f"{page}.md").read_text(encoding="utf-8")
        assert [name for name in (*(environment or {}), *tolerated) if name not in text] == []
        ran = self.run(self.code_of(page), check, environment)
        assert ran.code == 0, f"{'no end' if ran.code is None else ran.code}\n{ran.output}\n{ran.attempts}"
        assert ran.output.splitlines()[-1] == "checked", ran.output
        assert [attempt for attempt in ran.attempts if attempt.split()[-1] not in tolerated] == [], ran.output
        assert ran.watched >= 1
        return ran

    def code_of(self, page: str) -> str:
        """Return the program of a page; write the blocks that begin with the name of a file to that file."""
        program = ""
        for block in blocks_of(f"docs/recipes/{page}.md"):
            if named := _NAMED.match(block.code):
                (self.place / named[1]).write_text(block.code, encoding="utf-8")
            else:
                # So that a traceback shows the page's own lines.
                program += "\n" * (block.line - 1 - program.count("\n")) + block.code
        return program


def _read(watched: Path) -> tuple[tuple[str, ...], int]:
    """Return the attempts that were written down, and how many processes were watched."""
    lines = watched.read_text(encoding="utf-8").splitlines()
    attempts = tuple(line for line in lines if not line.startswith("watching "))
    return attempts, len(lines) - len(attempts)


def expected(texts: Sequence[str]) -> Any:
    """Return the vectors of ``mini`` as the runtime alone computes them: float32, one row a text."""
    from thoth_models import load_embedding

    return load_embedding("mini").encode(list(texts))


def assert_ours(found: Any, texts: Sequence[str]) -> None:
    """Compare vectors that a framework gives with those of the runtime."""
    vectors = np.asarray(found, dtype=np.float32)
    wanted = expected(texts)
    assert vectors.shape == wanted.shape, (vectors.shape, wanted.shape)
    np.testing.assert_allclose(vectors, wanted, atol=TOLERANCE)


def no_check(names: dict[str, Any]) -> None:
    """Check nothing: of a control, only its connections are looked at."""
