"""What the navigation has beside the lists of docs/index.md: the pages of folders.

A folder's README.md is what a hosting site shows for it; the other pages of the folder are below it in the navigation,
without a list. A page that is in neither place is a warning of Sphinx, and warnings are errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    from sphinx.application import Sphinx


def siblings(page: str, pages: Collection[str]) -> list[str]:
    """Return the pages below the README of a folder: the others beside it, then the READMEs of folders in it."""
    folder = page.removesuffix("README")
    inner = [other.removeprefix(folder) for other in pages if other.startswith(folder) and other != page]
    return sorted(name for name in inner if "/" not in name) + sorted(
        name for name in inner if name.count("/") == 1 and name.endswith("/README")
    )


def complete(app: Sphinx, page: str, source: list[str]) -> None:
    """Append the other pages of its folder to a README."""
    if page.endswith("/README"):
        source[0] += "\n\n```{toctree}\n:hidden:\n\n" + "\n".join(siblings(page, app.project.docnames)) + "\n```\n"


def setup(app: Sphinx) -> dict[str, Any]:
    """Have every page's text passed through :func:`complete`."""
    app.connect("source-read", complete)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
