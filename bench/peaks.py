"""The most memory that a command and all processes below it had together."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS = 0.2
"""Between two looks; a build's largest step lasts seconds at least."""


@dataclass
class Peak:
    """Watches the processes below one, in a thread; use it as a context manager.

    Shared pages count once, by their proportional share, so the sum is what the machine must have.

    Attributes:
        parent: Process whose children and their children are watched, and which is not counted itself.
        most: Most bytes so far.
    """

    parent: int
    most: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread = threading.Thread(target=self._watch, name="peak", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_SECONDS):
            self.most = max(self.most, sum(map(proportional, below(self.parent, parents()))))


def parents() -> dict[int, int]:
    """Return the parent of every process of this machine."""
    found = {}
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended
                # The name of a process is in parentheses, and may contain anything.
                found[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def below(ancestor: int, parent_of: Mapping[int, int]) -> list[int]:
    """Return the processes below another one, sorted."""
    found = {ancestor}
    while more := {process for process, parent in parent_of.items() if parent in found} - found:
        found |= more
    return sorted(found - {ancestor})


def proportional(process: int) -> int:
    """Return the proportional memory of a process in bytes, or 0 if it has ended."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024
    return 0
