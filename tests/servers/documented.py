"""The files of docs/processes.md, which each of its blocks names in its first line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.support.pages import blocks_of

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/processes.md"
MODEL = "mini"
"""The model that the files on the page name."""

_NAME = re.compile(r"# ([\w.]+\.py)\n")


def documented() -> dict[str, str]:
    """Return the content of each file, by its name."""
    found = {}
    for block in blocks_of(PAGE):
        match = _NAME.match(block.code)
        assert match is not None, f"{PAGE}:{block.line}: expected the name of a file in the first line"
        found[match[1]] = block.code
    return found


def write(place: Path, *names: str) -> None:
    """Write some of the files into a directory."""
    files = documented()
    for name in names:
        (place / name).write_text(files[name], encoding="utf-8")
