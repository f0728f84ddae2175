"""Starting the processes that are measured, and talking to them; every wait has an end."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCRIPT = Path(__file__).with_name("worker.py")
TAIL = 600
"""Characters of a failed process's standard error that are kept as the reason."""


class SubjectError(Exception):
    """A subject could not be measured; the message says why."""


def worker_environment(threads: int) -> dict[str, str]:
    """Return the environment of every measured process: offline, and as many threads as there are usable cores.

    The variables of this project and of the Hub are not passed on, so that no setting of whoever runs the benchmark
    changes what it measures.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "THOTH_", "COV_"))}
    quiet = {"HF_HUB_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1"}
    return {**kept, **quiet, "OMP_NUM_THREADS": str(threads)}


class Worker:
    """One process of ``worker.py``.

    Args:
        python: Interpreter of the subject's environment.
        task: What to load: the table that the loader of the subject takes.
        environment: Environment variables of the process.
        timeout: Seconds for each answer, the first included.
    """

    def __init__(
        self, python: Path, task: Mapping[str, Any], environment: Mapping[str, str], *, timeout: float = 300.0
    ) -> None:
        self._timeout = timeout
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        self._pending = b""
        self._is_lost = False
        # -P: the directory of the script does not become a place to import from.
        command = [str(python), "-P", str(SCRIPT), json.dumps(task)]
        self.started = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - the benchmark's own script
            command,
            bufsize=0,  # nothing is left to be written when the pipe is closed
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            env=environment,
        )

    def __enter__(self) -> Self:
        """Do nothing: the process has been started."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()

    def first_vector(self) -> float:
        """Wait for the first vector, and return the seconds from before the process was made until it was there.

        Both clocks are the system's monotonic one, so what it takes to hear of it is not counted.

        Raises:
            SubjectError: The process failed, or took too long.
        """
        return float(self._receive()["first"]) - self.started

    def memory(self) -> dict[str, int]:
        """Return the resident (``rss``) and the proportional memory (``pss``) in bytes."""
        answer: dict[str, int] = self._ask({"do": "memory"})["memory"]
        return answer

    def encode(self, texts: Path, callers: int, calls: int) -> float:
        """Return the seconds that ``callers`` threads took for the texts of a JSON file, in so many ``calls``."""
        asked = {"do": "encode", "texts": str(texts), "callers": callers, "calls": calls}
        return float(self._ask(asked)["seconds"])

    def peak(self, texts: Path) -> dict[str, float]:
        """Encode the texts of a JSON file in one call.

        Returns:
            The resident memory ``before`` and at its ``peak`` meanwhile, in bytes, and the ``seconds``.
        """
        return self._ask({"do": "peak", "texts": str(texts)})

    def product(self) -> float:
        """Return the operations per second of plain matrix products, in a process that has torch."""
        return float(self._ask({"do": "product"})["rate"])

    def vectors(self, texts: Path, target: Path) -> list[str]:
        """Write the vectors of the texts of a JSON file as .npy, and return which heavy libraries were imported."""
        answer: list[str] = self._ask({"do": "vectors", "texts": str(texts), "to": str(target)})["imported"]
        return answer

    @property
    def is_alive(self) -> bool:
        """Whether it can be told more, also after a command that failed."""
        return not self._is_lost and self._process.poll() is None

    def close(self) -> None:
        """End the process; one that does not end by itself is killed."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._messages.close()

    def _ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        if self._process.stdin is None:
            raise AssertionError("a worker without standard input")
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
        except BrokenPipeError as error:
            raise SubjectError(self._died()) from error
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + self._timeout
        output = self._process.stdout
        if output is None:
            raise AssertionError("a worker without standard output")
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self._process.kill()
                    self._is_lost = True
                    raise SubjectError(f"no answer within {self._timeout:g} s")
                data = os.read(output.fileno(), 65536)
                if not data:
                    self._is_lost = True
                    raise SubjectError(self._died())
                self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SubjectError(answer["error"])
        return answer

    def _died(self) -> str:
        code = self._process.wait(10)
        self._messages.seek(0)
        return f"exit code {code}: {last_words(self._messages.read())}"


def run(
    command: Sequence[str | Path], *, timeout: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it printed.

    Raises:
        SubjectError: It failed, or took longer than ``timeout`` seconds.
    """
    name = " ".join(str(part) for part in command[:4])
    try:
        finished = subprocess.run(  # noqa: S603 - commands of this project, and of pip
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SubjectError(f"{name}: did not end within {timeout:g} s") from error
    except OSError as error:
        raise SubjectError(f"{name}: {error}") from error
    if finished.returncode != 0:
        # Standard output last: with --json, the commands of this project say there what went wrong.
        words = last_words(f"{finished.stderr}\n{finished.stdout}".encode())
        raise SubjectError(f"{name}: exit code {finished.returncode}: {words}")
    return finished


def last_words(output: bytes) -> str:
    """Return the end of what a process printed, on one line."""
    text = " ".join(output.decode(errors="replace").split())
    return text if len(text) <= TAIL else f"… {text[-TAIL:]}"
