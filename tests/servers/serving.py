"""Real servers as processes of their own, and clients that ask them. Every wait has an end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tests.support.projects import environment_of_children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from thoth_models.types import FloatArray

ROOT = Path(__file__).parents[2]
WATCHING = ROOT / "tests" / "migration" / "watching"
TOLERANCE = 1e-5
"""Largest difference of a number to the same number of plain sentence-transformers."""

START_SECONDS = 40.0
STOP_SECONDS = 20.0
ANSWER_SECONDS = 60.0
"""Bounds of single waits, far beyond what they take."""


@dataclass(frozen=True)
class Surroundings:
    """Where the processes of a server run: a directory, the bundle, and a hub that counts who asks it.

    Attributes:
        place: The working directory.
        bundle: The bundle with the real model.
        endpoint: The address of the hub that nobody must ask.
    """

    place: Path
    bundle: Path
    endpoint: str

    @property
    def records(self) -> Path:
        return self.place / "records"

    @property
    def connections_file(self) -> Path:
        return self.place / "connections"

    def environment(self) -> dict[str, str]:
        self.records.mkdir(exist_ok=True)
        inherited = environment_of_children()
        kept = {name: value for name, value in inherited.items() if not name.startswith(("HF_", "THOTH_", "GUNICORN"))}
        # What is given first wins: the hook that watches connections, then the directory itself.
        places = (WATCHING, self.place, ROOT, inherited["PYTHONPATH"])
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join(map(str, places)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "CONNECTIONS": "counted",
            "CONNECTIONS_FILE": str(self.connections_file),
            "RECORDS": str(self.records),
            "THOTH_MODELS_DIR": str(self.bundle),
            "HF_ENDPOINT": self.endpoint,
            "NO_PROXY": "127.0.0.1",
            "TMPDIR": str(self.place),
            "HOME": str(self.place),  # gunicorn makes a socket there
        }

    def recorded(self) -> dict[int, dict[str, Any]]:
        """Return what each process wrote down that has begun, by its number."""
        return {int(path.stem): json.loads(path.read_bytes()) for path in self.records.glob("*.json")}

    def connections(self) -> tuple[int, list[str]]:
        """Return how many processes were watched, and what they tried to connect to."""
        lines = self.connections_file.read_text(encoding="utf-8").splitlines()
        tried = [line for line in lines if not line.startswith("watching ")]
        return len(lines) - len(tried), tried


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Service:
    """A command that goes on until it is stopped, with all processes that it starts.

    Args:
        command: What to run; ``python -m`` goes before it.
        surroundings: Where to run it.
        more: Further variables of its environment.
    """

    def __init__(self, command: Sequence[str], surroundings: Surroundings, **more: str) -> None:
        self.surroundings = surroundings
        self._command = [sys.executable, *command]
        self._environment = {**surroundings.environment(), **more}
        self._log = surroundings.place / "log"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self.surroundings.place,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that all of its processes can be ended at once
            )
        return self

    def __exit__(self, *_exception: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    def log(self) -> str:
        """Return what it said."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def until(self, what: str, is_so: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Wait until something is so; not longer than the process lives, nor than ``seconds``."""
        deadline = time.monotonic() + seconds
        while not is_so():
            code = self.process.poll()
            assert code is None, f"{what}: expected it to go on, but it ended with {code}:\n{self.log()[-6000:]}"
            assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s:\n{self.log()[-6000:]}"
            time.sleep(0.02)

    def stop(self) -> float:
        """Ask it to end, and check that it does so well, with all of its processes; return how long that took."""
        started = time.monotonic()
        os.kill(self.process.pid, signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end within {STOP_SECONDS:g} s:\n{self.log()[-6000:]}") from None
        # uvicorn hands the signal on to itself once it is done.
        assert code in (0, -signal.SIGTERM), f"ended with {code}:\n{self.log()[-6000:]}"
        seconds = time.monotonic() - started
        while self._has_processes():
            # What Python starts to clean up after others ends a moment later.
            assert time.monotonic() < started + STOP_SECONDS, f"left processes behind:\n{self.log()[-6000:]}"
            time.sleep(0.02)
        return seconds

    def _has_processes(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True


class WebServer(Service):
    """A service that answers on a port of its own, which the command and the environment name."""

    def __init__(self, command: Callable[[int], Sequence[str]], surroundings: Surroundings, **more: str) -> None:
        self.port = free_port()
        super().__init__(command(self.port), surroundings, PORT=str(self.port), **more)

    def request(self, path: str, body: object = None, seconds: float = ANSWER_SECONDS) -> tuple[int, str, bytes]:
        """Ask once, on a connection of its own; return the status, the process that answered, and the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            if body is None:
                connection.request("GET", path, headers={"Connection": "close"})
            else:
                headers = {"Connection": "close", "Content-Type": "application/json"}
                connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("X-Process", ""), answer.read()
        finally:
            connection.close()

    def until_ready(self, workers: int) -> None:
        """Wait until it answers, and until as many processes have begun as it shall have."""

        def answers() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.request("/ready", seconds=10)[0] == http.HTTPStatus.OK
            return False

        self.until(f"{workers} workers", lambda: len(self.surroundings.recorded()) >= workers)
        self.until("the first answer", answers)


@dataclass
class Answers:
    """What became of requests.

    Attributes:
        count: How many there were.
        seconds: How long all of them took.
        slowest: How long the slowest one took.
        lost: Why those failed that were not answered as they should, and how often each.
        processes: The processes that answered, and how often each.
    """

    count: int
    seconds: float = 0.0
    slowest: float = 0.0
    lost: Counter[str] = field(default_factory=Counter)
    processes: Counter[str] = field(default_factory=Counter)


def ask(count: int, threads: int, once: Callable[[int], str]) -> Answers:
    """Make requests from several threads, each once, whatever becomes of it.

    Args:
        count: How many.
        threads: How many at once.
        once: Makes the request with a number, and returns the process that answered; an exception is a lost request.
    """
    answers = Answers(count)

    def request(number: int) -> tuple[str, str, float]:
        started = time.monotonic()
        try:
            return once(number), "", time.monotonic() - started
        except (OSError, http.client.HTTPException, AssertionError) as error:
            return "", f"{type(error).__name__}: {error}"[:200], time.monotonic() - started

    started = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        for process, reason, seconds in pool.map(request, range(count)):
            answers.slowest = max(answers.slowest, seconds)
            (answers.lost if reason else answers.processes)[reason or process] += 1
    answers.seconds = time.monotonic() - started
    return answers


def difference(found: Any, expected: FloatArray) -> float:
    """Return the largest difference of two arrays that have to have the same shape."""
    vectors = np.asarray(found, dtype=np.float32)
    assert vectors.shape == expected.shape, f"expected vectors of shape {expected.shape}, found {vectors.shape}"
    return float(np.abs(vectors - expected).max())


def pss(processes: Iterable[int]) -> dict[int, int]:
    """Return the proportional set size of each process, in bytes: pages that several share count in parts."""
    found = {}
    for process in processes:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
        found[process] = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return found


def descendants(process: int) -> set[int]:
    """Return the processes below one, in every generation."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in {process, *found}} - found:
        found |= more
    return found
