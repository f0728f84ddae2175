"""The limits of control groups for this process: CPU time and memory, with cgroup v1, v2, or both.

Nothing here raises: the content of these files depends on kernel, engine and orchestrator, and a value that cannot be
parsed counts as no limit. The files are described in https://docs.kernel.org/admin-guide/cgroup-v2.html and
https://docs.kernel.org/admin-guide/cgroup-v1/. Every function takes the root of the file system, so that tests can
prepare one.

A process belongs to one group per hierarchy (``/proc/self/cgroup``), and the limits of all parent groups apply as well.
How many of them are visible depends on the container: its mount may start at its own group (``/proc/self/mountinfo``
says where), and a cgroup namespace hides the groups above. The lowest visible limit counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Number = TypeVar("Number", int, float)

ROOT = Path("/")

_MAX_FILE_SIZE = 16 * 1024 * 1024
"""Maximum bytes to read of one file; mountinfo has about a hundred per mount, and hosts have thousands of mounts."""

_NO_MEMORY_LIMIT = 2**62
"""A v1 group without a limit has the largest number of whole pages in 63 bits as its limit."""

_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Mount:
    """A mount of a hierarchy: ``begins_at`` is the group that is visible at ``point``."""

    point: PurePosixPath
    begins_at: PurePosixPath
    controllers: frozenset[str]  # empty for v2


def cpu_quota(root: Path = ROOT) -> float | None:
    """Return how many CPU seconds per second the groups of this process allow it, such as 1.5; None for no quota."""
    return _tightest(root, "cpu", v1=_quota_v1, v2=_quota_v2)


def memory_limit(root: Path = ROOT) -> int | None:
    """Return how many bytes of memory the groups of this process allow it; None for no limit."""
    return _tightest(root, "memory", v1=_memory_v1, v2=_memory_v2)


def _tightest(
    root: Path, controller: str, *, v1: Callable[[Path], Number | None], v2: Callable[[Path], Number | None]
) -> Number | None:
    mounts = list(_mounts(read(root / "proc/self/mountinfo")))
    found: list[Number] = []
    for controllers, group in _memberships(read(root / "proc/self/cgroup")):
        if controllers and controller not in controllers:
            continue
        of_hierarchy = [mount for mount in mounts if _shows(mount, controllers)]
        for place in _places(of_hierarchy, group):
            value = (v1 if controllers else v2)(root / str(place).lstrip("/"))
            if value is not None:
                found.append(value)
    return min(found, default=None)


def read(path: Path) -> str:
    """Return the text of a kernel file; the empty string if it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            return file.read(_MAX_FILE_SIZE)
    except (OSError, ValueError):  # ValueError: a name with a null character
        return ""


def _memberships(text: str) -> Iterator[tuple[frozenset[str], PurePosixPath]]:
    """Yield the controllers of each hierarchy, none for v2, and the group that the process belongs to there."""
    for line in text.split("\n"):
        number, _, rest = line.partition(":")
        names, separator, path = rest.partition(":")
        if separator and path.startswith("/") and bool(names) != (number == "0"):
            yield frozenset(filter(None, names.split(","))), PurePosixPath(path)


def _mounts(text: str) -> Iterator[_Mount]:
    for line in text.split("\n"):
        if " - cgroup" not in line:
            continue
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        # A mount of v1 says which hierarchy it is in the last of its options; "cgroup2" is the only hierarchy of v2.
        if len(fields) > 5 and len(kind) > 2 and kind[0] in ("cgroup", "cgroup2"):  # noqa: PLR2004 - see proc(5)
            yield _Mount(
                point=PurePosixPath(_unescaped(fields[4])),
                begins_at=PurePosixPath(_unescaped(fields[3])),
                controllers=frozenset(kind[2].split(",")) if kind[0] == "cgroup" else frozenset(),
            )


def _unescaped(text: str) -> str:
    """Decode the kernel's escapes for spaces and backslashes."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def _shows(mount: _Mount, controllers: frozenset[str]) -> bool:
    return controllers <= mount.controllers if controllers else not mount.controllers


def _places(mounts: list[_Mount], path: PurePosixPath) -> list[PurePosixPath]:
    """Return the directories of the group at ``path`` and of its parents, as far as they are mounted."""
    fitting = [mount for mount in mounts if ".." not in path.parts and path.is_relative_to(mount.begins_at)]
    if not fitting:
        # The process was moved to a group that is not mounted here. The top group is the best approximation.
        return [mount.point for mount in mounts if ".." not in mount.begins_at.parts]
    places: list[PurePosixPath] = []
    for mount in fitting:
        below = path.relative_to(mount.begins_at)
        places += [mount.point / part for part in (below, *below.parents)]
    return places


def _quota_v2(directory: Path) -> float | None:
    quota, _, period = read(directory / "cpu.max").strip().partition(" ")
    return _cpus(quota, period)


def _quota_v1(directory: Path) -> float | None:
    return _cpus(read(directory / "cpu.cfs_quota_us").strip(), read(directory / "cpu.cfs_period_us").strip())


def _cpus(quota: str, period: str) -> float | None:
    microseconds, of_microseconds = _positive(quota), _positive(period)
    return None if microseconds is None or of_microseconds is None else microseconds / of_microseconds


def _memory_v2(directory: Path) -> int | None:
    # Beyond `high` no process is killed, but all processes of the group are slowed down while the kernel reclaims
    # memory.
    limits = [_positive(read(directory / name).strip()) for name in ("memory.max", "memory.high")]
    return min((limit for limit in limits if limit is not None), default=None)


def _memory_v1(directory: Path) -> int | None:
    limits = [_positive(read(directory / "memory.limit_in_bytes").strip())]
    # Includes the limits of parent groups, even of invisible ones.
    for line in read(directory / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == "hierarchical_memory_limit":
            limits.append(_positive(value.strip()))
    return min((limit for limit in limits if limit is not None and limit < _NO_MEMORY_LIMIT), default=None)


def _positive(text: str) -> int | None:
    """Return the number; None for ``max``, -1, 0 and anything else."""
    return int(text) or None if _NUMBER.fullmatch(text) else None
