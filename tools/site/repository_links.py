"""Links from pages to files of the repository, which a page reads in the file view of a hosting site as well.

A page links to ``../docker/compose.yaml`` or ``../README.md#run-the-tests`` as seen from its own place. In the site,
the link goes to the file view of the repository, if ``repository_url`` of conf.py says where that is; otherwise it is
text. Either way the file must exist, and so must the heading in a Markdown file that a link names.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from markdown_it import MarkdownIt
from myst_parser.slugs import github_slugify, unique_slug
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

logger = logging.getLogger(__name__)


class RepositoryLinks(SphinxTransform):
    """Replace links to files outside of the pages, before MyST looks for pages of these names or copies the files."""

    default_priority = 400

    def apply(self, **_options: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Replace the links of one page."""
        root = Path(self.config.repository_root).resolve()
        pages = Path(self.env.srcdir).resolve()
        page = Path(self.env.doc2path(self.env.docname)).resolve()
        for node in list(_links(self.document)):
            target, _, fragment = _target(node).partition("#")
            path = (page.parent / target).resolve()
            if not target or path.is_relative_to(pages) or not path.is_relative_to(root) or not path.exists():
                continue  # a page, a file beside the pages, or nothing, of which MyST warns
            if fragment and not (path.suffix == ".md" and fragment in headings(path.read_text(encoding="utf-8"))):
                place = path.relative_to(root).as_posix()
                logger.warning("%s has no heading #%s", place, fragment, location=node, type="site", subtype="fragment")
            node.replace_self(self._replacement(node, path.relative_to(root), fragment))

    def _replacement(self, node: nodes.Element, path: Path, fragment: str) -> list[nodes.Node]:
        content = [child for inline in node.children for child in inline.children]
        if not self.config.repository_url:
            return [nodes.inline("", "", *content, classes=["repository-file"])]
        view = "tree" if (Path(self.config.repository_root) / path).is_dir() else "blob"
        address = f"{self.config.repository_url}/{view}/{self.config.repository_revision}/{path.as_posix()}"
        return [nodes.reference("", "", *content, internal=False, refuri=f"{address}#{fragment}".rstrip("#"))]


def _links(document: nodes.document) -> Iterator[nodes.Element]:
    for kind in (addnodes.download_reference, addnodes.pending_xref):
        yield from (node for node in document.findall(kind) if node.get("reftype") == "myst")


def _target(node: nodes.Element) -> str:
    """Return the path that a link names, with its fragment; absolute if MyST took a file elsewhere for a page."""
    if node.get("refdomain") != "doc":
        return str(node["reftarget"])
    fragment = node.get("reftargetid")
    return f"{node['reftarget']}.md" + (f"#{fragment}" if fragment else "")


def headings(text: str) -> list[str]:
    """Return the fragments of a Markdown file's headings, as hosting sites and MyST make them."""
    tokens = MarkdownIt("commonmark").parse(text)
    found: list[str] = []
    for before, token in itertools.pairwise(tokens):
        if before.type == "heading_open":
            kept = [child.content for child in token.children or [] if child.type in ("text", "code_inline")]
            found.append(unique_slug(github_slugify("".join(kept)), found))
    return found


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the transform and its settings."""
    app.add_config_value("repository_root", "..", "env", str)
    app.add_config_value("repository_url", "", "env", str)
    app.add_config_value("repository_revision", "main", "env", str)
    app.add_transform(RepositoryLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
