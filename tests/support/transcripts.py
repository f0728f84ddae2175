"""Console blocks of documentation pages, to be run: each command, and the lines that the page shows below it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support.pages import SOURCES

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """One command of a page, and its output as shown, where ``…`` stands for anything."""

    line: str
    output: tuple[str, ...]

    def missing(self, printed: str) -> list[str]:
        """Return the lines of the page that are not in ``printed``, in the page's order."""
        rest = printed.splitlines()
        absent = []
        for shown in self.output:
            pattern = re.compile(".*".join(map(re.escape, shown.split("…"))))
            found = next((index for index, line in enumerate(rest) if pattern.fullmatch(line)), None)
            if found is None:
                absent.append(shown)
            else:
                rest = rest[found + 1 :]
        return absent


def commands_of(page: str) -> list[Command]:
    """Return the commands of a page in order; at least one, or the test would test nothing."""
    found: list[Command] = []
    for block in _BLOCK.findall((SOURCES / page).read_text(encoding="utf-8")):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Command(line.removeprefix("$ "), ()))
            else:
                last = found.pop()
                found.append(Command(last.line, (*last.output, line)))
    if not found:
        raise AssertionError(f"{page}: expected a console block, found none")
    return found
