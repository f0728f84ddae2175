"""What the navigation has beside the lists of docs/index.md: pages of folders, and places for pages to come.

A folder's README.md is what a hosting site shows for it; the other pages of the folder are below it in the navigation,
without a list. An entry of index.md with a ``*`` may match no page. A page that is in neither place is a warning of
Sphinx, and warnings are errors.
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    from sphinx.application import Sphinx

_TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```\n", re.DOTALL | re.MULTILINE)


def siblings(page: str, pages: Collection[str]) -> list[str]:
    """Return the pages below the README of a folder: the others beside it, then the READMEs of folders in it."""
    folder = page.removesuffix("README")
    inner = [other.removeprefix(folder) for other in pages if other.startswith(folder) and other != page]
    return sorted(name for name in inner if "/" not in name) + sorted(
        name for name in inner if name.count("/") == 1 and name.endswith("/README")
    )


def without_empty_places(text: str, pages: Collection[str]) -> str:
    """Return the text of index.md without the entries with a ``*`` that match no page, and without empty lists."""

    def kept(toctree: re.Match[str]) -> str:
        lines = toctree[1].splitlines(keepends=True)
        lines = [line for line in lines if "*" not in line or fnmatch.filter(pages, line.strip())]
        entries = [line for line in lines if line.strip() and not line.startswith(":")]
        return f"```{{toctree}}\n{''.join(lines)}```\n" if entries else ""

    return _TOCTREE.sub(kept, text)


def complete(app: Sphinx, page: str, source: list[str]) -> None:
    """Complete the navigation in the text of a page."""
    pages = app.project.docnames
    if page == app.config.root_doc:
        source[0] = without_empty_places(source[0], pages)
    elif page.endswith("/README"):
        source[0] += "\n\n```{toctree}\n:hidden:\n\n" + "\n".join(siblings(page, pages)) + "\n```\n"


def setup(app: Sphinx) -> dict[str, Any]:
    """Have every page's text passed through :func:`complete`."""
    app.connect("source-read", complete)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
