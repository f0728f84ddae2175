"""What the processes of two releases take."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gates.verdict import BEYOND, WITHIN, UnmeasuredError, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

PROC = Path("/proc")

_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ (?P<offset>[0-9a-f]+) (?P<device>\S+) (?P<inode>\d+)")
_SIZE = re.compile(r"^(?P<name>\w+): +(?P<kilobytes>\d+) kB$")


@dataclass(frozen=True)
class Memory:
    """What the processes of one instance take together, in bytes.

    Attributes:
        own: Memory without a file. What they share with each other, as after a fork, counts once.
        files: Pages of mapped files that are in memory, such as weights, and shared memory. Each counts once and as a
            whole, however many others map it too: so the figure does not depend on how many instances run beside it.
    """

    own: int
    files: int

    @property
    def whole(self) -> int:
        """What it takes by itself."""
        return self.own + self.files


def memory_of(place: str) -> Memory:
    """Return the memory of ``pid:N`` with its children, ``container:NAME``, ``compose:SERVICE`` or ``bytes:OWN+FILES``.

    Raises:
        UnmeasuredError: There is no such process or container here, or its memory may not be read.
    """
    kind, _, name = place.partition(":")
    if kind == "bytes":
        return Memory(*map(int, name.split("+")))
    first = int(name) if kind == "pid" else _of_container(name if kind == "container" else _of_service(name))
    own = 0
    files: dict[str, int] = {}
    for pid in _with_children(first):
        own += _own(pid)
        for mapping, size in _files(pid).items():
            files[mapping] = max(size, files.get(mapping, 0))  # processes of one instance share a file's pages
    return Memory(own, sum(files.values()))


def _own(pid: int) -> int:
    sizes = dict(map(_size, _lines(pid, "smaps_rollup")))
    if "Pss_Anon" not in sizes:
        raise UnmeasuredError(f"process {pid}: expected its Pss_Anon (Linux 5.4 and newer), found {list(sizes)[:9]}")
    return sizes["Pss_Anon"]


def _files(pid: int) -> dict[str, int]:
    """Return the bytes in memory of each mapping of a file, by what is mapped."""
    found: dict[str, int] = {}
    mapping, inode = "", "0"
    for line in _lines(pid, "smaps"):
        if begun := _MAPPING.match(line):
            inode, mapping = begun["inode"], f"{begun['device']} {begun['inode']} {begun['offset']}"
        elif inode != "0":
            name, size = _size(line)
            # Pages of a private mapping that were written to are memory of its own.
            change = {"Rss": size, "Anonymous": -size}.get(name, 0)
            found[mapping] = found.get(mapping, 0) + change
    return found


def _lines(pid: int, name: str) -> list[str]:
    try:
        return Path(PROC, str(pid), name).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        reason = f"process {pid}: expected to read its memory ({error.strerror}); another user's needs root"
        raise UnmeasuredError(reason) from error


def _size(line: str) -> tuple[str, int]:
    found = _SIZE.match(line)
    return (found["name"], int(found["kilobytes"]) * 1024) if found else ("", 0)


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


def _of_container(name: str) -> int:
    """Return the first process of a container. A check of its health is no child of that, and does not count."""
    identity, pid = _docker("inspect", "--format={{.Id}} {{.State.Pid}}", name).split()
    if pid == "0":
        raise UnmeasuredError(f"container {name}: expected processes, found none")
    # The engine may be on another computer, where this number is of another process.
    try:
        groups = Path(PROC, pid, "cgroup").read_text(encoding="ascii")
    except OSError:
        groups = ""
    if identity not in groups:
        raise UnmeasuredError(f"container {name}: expected its process {pid} here, found none or another")
    return int(pid)


def _docker(*arguments: str) -> str:
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603, S607 - as the caller would
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnmeasuredError(f"docker: expected an answer, found {error}") from error
    if done.returncode != 0:
        raise UnmeasuredError(f"docker {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def judge_memory(old: Sequence[Memory], new: Sequence[Memory], max_more: float) -> Verdict:
    """Return whether the new ones take, on average, too much more than the old ones: of their own, or as a whole.

    Both, because weights that are copied instead of mapped leave the whole as it was, and larger ones leave their own.
    """
    before, after = _mean(old), _mean(new)
    ratios = {"own_ratio": after.own / max(before.own, 1), "ratio": after.whole / max(before.whole, 1)}
    figures = {side: f"bytes:{mean.own}+{mean.files}" for side, mean in (("old", before), ("new", after))}
    own = (
        f"{after.own / 1e6:.1f} MB of its own, {ratios['own_ratio']:.2f} x the {before.own / 1e6:.1f} MB of the old one"
    )
    whole = f"with files {after.whole / 1e6:.1f} MB, {ratios['ratio']:.2f} x the {before.whole / 1e6:.1f} MB"
    beyond = after.own > before.own * (1 + max_more) or after.whole > before.whole * (1 + max_more)
    rounded = {name: round(ratio, 3) for name, ratio in ratios.items()}
    return Verdict(
        BEYOND if beyond else WITHIN, f"{own}; {whole}; the limit is {1 + max_more:.2f}", {**figures, **rounded}
    )


def _mean(several: Sequence[Memory]) -> Memory:
    own, files = (statistics.mean(getattr(one, part) for one in several) for part in ("own", "files"))
    return Memory(round(own), round(files))
