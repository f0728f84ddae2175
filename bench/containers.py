"""What containers of one image take together: the layers of an image are the same files, so their pages are shared.

Works only if the engine and its processes are on this computer, and this user may read their ``smaps_rollup``.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.processes import SubjectError, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COUNT = 4
"""Containers that are measured together."""

HARDENED = ("--network=none", "--read-only", "--user=12345:12345", "--cap-drop=ALL", "--security-opt=no-new-privileges")
"""Options of every container, as for an untrusted one."""

_HOLD = """
import sys, time
from thoth_models import load_embedding
embedding = load_embedding(sys.argv[1] or None, variants=[sys.argv[2]])
embedding.encode("a text, so that everything that a service needs is there")
print("ready", flush=True)
time.sleep(3600)
"""
_SECONDS = 60.0
"""Deadline on each container until it holds its model, and on each command."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharing:
    """What containers take, in bytes of proportional memory (PSS).

    Attributes:
        alone: One container, with no other of its image.
        together: All of them, summed up.
        count: How many they are.
    """

    alone: int
    together: int
    count: int

    @property
    def ratio(self) -> float:
        """What they take together, over what as many would take that share nothing."""
        return self.together / (self.count * self.alone)


def measure_sharing(image: str, model: str, variant: str = "onnx-fp32", *, count: int = COUNT) -> Sharing:
    """Measure one container that holds a model, and then ``count`` of them at the same time.

    Raises:
        SubjectError: A container did not come to hold its model, or its memory cannot be read.
    """
    with held(image, model, variant, count=1) as containers:
        alone = proportional_memory(containers)
    with held(image, model, variant, count=count) as containers:
        together = proportional_memory(containers)
    return Sharing(alone=alone, together=together, count=count)


@contextmanager
def held(image: str, model: str, variant: str, *, count: int) -> Iterator[list[str]]:
    """Run containers that each have loaded the model and encoded a text, and remove them in the end."""
    with ExitStack() as stack:
        names = [f"thoth-bench-{uuid.uuid4().hex[:12]}" for _ in range(count)]
        for name in names:
            stack.callback(run, ["docker", "rm", "--force", "--volumes", name], timeout=_SECONDS)
            command = ["docker", "run", "--detach", f"--name={name}", *HARDENED, image]
            run([*command, "python3", "-c", _HOLD, model, variant], timeout=_SECONDS)
        for name in names:
            _wait_until_ready(name)
        yield names


def proportional_memory(containers: Sequence[str]) -> int:
    """Return the proportional memory of all processes of ``containers``: a page that n processes share counts 1/n each.

    Raises:
        SubjectError: A process is of another computer, or its memory may not be read.
    """
    total = 0
    for pid in (pid for name in containers for pid in _processes(name)):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        except OSError as error:
            raise SubjectError(f"process {pid} of a container: expected to read its memory here ({error})") from error
        match = re.search(r"^Pss:\s+(\d+) kB$", rollup, flags=re.MULTILINE)
        if match is None:
            raise SubjectError(f"process {pid} of a container: expected a line with its Pss, found {rollup[:80]!r}")
        total += int(match[1]) * 1024
    return total


def _processes(container: str) -> list[int]:
    """Return the processes of a container by their numbers on the computer of the engine."""
    lines = run(["docker", "top", container, "-eo", "pid"], timeout=_SECONDS).stdout.split()
    return [int(line) for line in lines[1:]]


def _wait_until_ready(container: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while "ready" not in run(["docker", "logs", container], timeout=_SECONDS).stdout:
        (state,) = json.loads(run(["docker", "inspect", container], timeout=_SECONDS).stdout)
        if not state["State"]["Running"]:
            said = run(["docker", "logs", container], timeout=_SECONDS)
            raise SubjectError(f"container of {state['Config']['Image']}: ended: {(said.stderr or said.stdout)[-600:]}")
        if time.monotonic() > deadline:
            raise SubjectError(f"container of {state['Config']['Image']}: not ready within {_SECONDS:g} s")
        time.sleep(0.1)
