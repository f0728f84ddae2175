"""What the processes of two releases take."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from gates.verdict import BEYOND, WITHIN, UnmeasuredError, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

PROC = Path("/proc")


def memory_of(place: str) -> int:
    """Return the bytes of ``pid:N`` with its children, ``container:NAME`` or ``compose:SERVICE``, or N of ``bytes:N``.

    Proportional (PSS): a page that n processes share counts 1/n for each.

    Raises:
        UnmeasuredError: There is no such process or container here, or its memory may not be read.
    """
    kind, _, name = place.partition(":")
    if kind == "bytes":
        return int(name)
    if kind == "pid":
        return sum(map(_proportional, _with_children(int(name))))
    return sum(map(_proportional, _of_container(name if kind == "container" else _of_service(name))))


def _proportional(pid: int) -> int:
    try:
        rollup = Path(PROC, str(pid), "smaps_rollup").read_text(encoding="ascii")
    except OSError as error:
        reason = f"process {pid}: expected to read its memory ({error.strerror}); another user's needs root"
        raise UnmeasuredError(reason) from error
    found = re.search(r"^Pss:\s+(\d+) kB$", rollup, flags=re.MULTILINE)
    if found is None:
        raise UnmeasuredError(f"process {pid}: expected a line with its Pss, found {rollup[:80]!r}")
    return int(found[1]) * 1024


def _with_children(pid: int) -> list[int]:
    parents = {}
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        parents[int(stat.parent.name)] = int(fields[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def _of_service(name: str) -> str:
    labels = {"service": name, "project": os.environ.get("COMPOSE_PROJECT_NAME", "")}
    filters = [f"--filter=label=com.docker.compose.{label}={value}" for label, value in labels.items() if value]
    found = _docker("ps", "--quiet", *filters).split()
    if len(found) != 1:
        project = "" if labels["project"] else "; COMPOSE_PROJECT_NAME says of which project"
        raise UnmeasuredError(f"service {name}: expected one container, found {len(found)}{project}")
    return found[0]


def _of_container(name: str) -> list[int]:
    identity = _docker("inspect", "--format={{.Id}}", name).strip()
    pids = [int(line) for line in _docker("top", name, "-eo", "pid").split()[1:]]
    if not pids:
        raise UnmeasuredError(f"container {name}: expected processes, found none")
    for pid in pids:
        # The engine may be on another computer, where these numbers are of other processes.
        try:
            groups = Path(PROC, str(pid), "cgroup").read_text(encoding="ascii")
        except OSError:
            groups = ""
        if identity not in groups:
            raise UnmeasuredError(f"container {name}: expected its process {pid} here, found none or another")
    return pids


def _docker(*arguments: str) -> str:
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603, S607 - as the caller would
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnmeasuredError(f"docker: expected an answer, found {error}") from error
    if done.returncode != 0:
        raise UnmeasuredError(f"docker {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def judge_memory(old: Sequence[int], new: Sequence[int], max_more: float) -> Verdict:
    """Return whether the new ones take, on average, too much more than the old ones."""
    before, after = statistics.mean(old), statistics.mean(new)
    figures = {"old_bytes": round(before), "new_bytes": round(after), "ratio": round(after / before, 3)}
    said = f"{after / 1e6:.1f} MB, {after / before:.2f} x the {before / 1e6:.1f} MB of the old release"
    said += f", the limit is {1 + max_more:.2f}"
    return Verdict(BEYOND if after > before * (1 + max_more) else WITHIN, said, figures)
