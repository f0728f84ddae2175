"""Check a built site: ``python -m tools.site.check SITE``.

Sphinx has resolved the links that pages have. This looks at what it wrote, with the theme's own links and scripts:
nothing is loaded from elsewhere, so that the site works on any host and without one; every link within the site has its
page and its anchor; every page is in the navigation and in the search index.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MADE_BY_SPHINX = {"genindex.html", "py-modindex.html", "search.html"}
"""Pages that are no part of the navigation: the theme links to the search, and the search finds what an index lists."""

LOADED = {"src", "srcset", "poster", "data", "background"}
"""Attributes whose address a browser loads by itself."""
NOT_LOADED = {"alternate", "author", "canonical", "help", "index", "license", "next", "prev", "search", "up"}
"""Relations of a ``<link>`` that a browser does not load."""

_IN_STYLES = re.compile(r"""(?:url\(|@import)\s*["']?\s*([^"')\s;]+)""")
_IN_SCRIPTS = re.compile(r"""(?:\bimport\b|\bfetch|\bimportScripts|\.src)\s*[(=]?\s*["'`]([^"'`]+)["'`]""")
_INDEX = re.compile(r"^Search\.setIndex\((.*)\)\s*;?\s*$", re.DOTALL)


@dataclass
class Page:
    """What a page of HTML refers to.

    Attributes:
        anchors: Every ``id``, and the names of old anchors.
        links: Addresses that a reader may follow.
        loaded: Addresses that a browser loads by itself.
        navigation: Those of ``links`` that are in the tree beside the page.
    """

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    navigation: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._divisions: list[bool] = []
        self._inline = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.page.anchors |= {values[name] for name in ("id", "name") if name in values}
        for name in LOADED & set(values):
            parts = values[name].split(",") if name == "srcset" else [values[name]]
            self.page.loaded += [part.split()[0] for part in parts if part.strip()]
        self.page.loaded += _IN_STYLES.findall(values.get("style", ""))
        if tag == "link" and set(values.get("rel", "").lower().split()) - NOT_LOADED:
            self.page.loaded.append(values.get("href", ""))
        if tag in ("a", "area") and "href" in values:
            self.page.links.append(values["href"])
            if any(self._divisions):
                self.page.navigation.append(values["href"])
        if tag == "div":
            self._divisions.append("sidebar-tree" in values.get("class", "").split())
        if tag in ("script", "style"):
            self._inline = tag

    def handle_endtag(self, tag: str) -> None:
        self._inline = ""
        if tag == "div" and self._divisions:
            self._divisions.pop()

    def handle_data(self, data: str) -> None:
        if self._inline:
            self.page.loaded += (_IN_STYLES if self._inline == "style" else _IN_SCRIPTS).findall(data)


def read(text: str) -> Page:
    """Return what a page of HTML refers to."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.page


def findings(site: Path) -> list[str]:
    """Return what is wrong with a site, a line each; none if nothing is.

    Args:
        site: Directory that Sphinx wrote.
    """
    pages = {path.relative_to(site).as_posix(): path for path in sorted(site.rglob("*.html"))}
    if "index.html" not in pages:
        return [f"{site}: expected index.html, found none"]
    read_pages = {name: read(path.read_text(encoding="utf-8")) for name, path in pages.items()}
    found = [
        f"{name}: loads {address} from elsewhere"
        for name, loaded in _loaded(site, read_pages)
        for address in loaded
        if _is_elsewhere(address)
    ]
    for name, page in read_pages.items():
        found += [f"{name}: {problem}" for problem in _broken(site, name, page, read_pages)]
    return [*found, *_unlisted(read_pages), *_not_searched(site, read_pages)]


def _loaded(site: Path, pages: Mapping[str, Page]) -> Iterator[tuple[str, list[str]]]:
    for name, page in pages.items():
        yield name, page.loaded
    for pattern, suffix in ((_IN_STYLES, "*.css"), (_IN_SCRIPTS, "*.js")):
        for path in sorted(site.rglob(suffix)):
            yield path.relative_to(site).as_posix(), pattern.findall(path.read_text(encoding="utf-8"))


def _is_elsewhere(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def _broken(site: Path, name: str, page: Page, pages: Mapping[str, Page]) -> Iterator[str]:
    for address in dict.fromkeys([*page.links, *page.loaded]):
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue
        target = (site / name).parent.joinpath(unquote(parts.path)).resolve() if parts.path else (site / name).resolve()
        if not target.is_relative_to(site.resolve()) or not target.is_file():
            yield f"{address}: there is no such file in the site"
            continue
        other = pages.get(target.relative_to(site.resolve()).as_posix())
        if parts.fragment and other is not None and unquote(parts.fragment) not in other.anchors:
            yield f"{address}: the page has no such anchor"


def _unlisted(pages: Mapping[str, Page]) -> list[str]:
    listed = {urlsplit(address).path for address in pages["index.html"].navigation} | {"index.html"}
    return [f"{name}: is not in the navigation" for name in sorted(set(pages) - listed - MADE_BY_SPHINX)]


def _not_searched(site: Path, pages: Mapping[str, Page]) -> list[str]:
    path = site / "searchindex.js"
    index = _INDEX.match(path.read_text(encoding="utf-8")) if path.is_file() else None
    if index is None:
        return ["searchindex.js: expected the search index of Sphinx, found none"]
    document = json.loads(index[1])
    searched = {f"{name}.html" for name in document["docnames"]}
    problems = [f"{name}: the search does not find it" for name in sorted(set(pages) - searched - MADE_BY_SPHINX)]
    if not document["terms"] or not document["titleterms"]:
        problems.append("searchindex.js: expected words, found none")
    return problems


def main(arguments: Sequence[str]) -> int:
    """Print the findings about a site; return 1 if there are some."""
    (site,) = arguments
    found = findings(Path(site))
    for line in found:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{site}: {len(found)} findings\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
