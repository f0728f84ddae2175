"""The code of documentation pages, to be run: a block after the other, in one namespace, as a reader would."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The variable is where the pages are when the tests run away from the source tree.
SOURCES = Path(os.environ.get("THOTH_TEST_SOURCES", Path(__file__).parents[2]))

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block of Python of a page, such as ``docs/compat.md``, and the line of the page that it begins at."""

    page: str
    line: int
    code: str

    def run(self, names: dict[str, Any]) -> None:
        """Run it with these names; a traceback shows the page's own lines."""
        code = "\n" * (self.line - 1) + self.code
        exec(compile(code, str(SOURCES / self.page), "exec"), names)  # noqa: S102 - our own page


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page; at least one, or the test would test nothing."""
    text = (SOURCES / page).read_text(encoding="utf-8")
    found = [Block(page, text.count("\n", 0, match.start(1)) + 1, match[1]) for match in _BLOCK.finditer(text)]
    if not found:
        raise AssertionError(f"{page}: expected a block of Python, found none")
    return found


def run_page(page: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run all blocks of a page, and return the names that they leave."""
    found = {"__name__": "page", **(names or {})}
    for block in blocks_of(page):
        block.run(found)
    return found
