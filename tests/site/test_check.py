"""The check of the built site: a site of two pages that is right, and each fault that it must find."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tools.site.check import findings, main, read

if TYPE_CHECKING:
    from pathlib import Path

TREE = '<div class="sidebar-tree"><div><a href="#">Home</a></div><a href="more/page.html">Page</a></div>'
INDEX = f'<link rel="stylesheet" href="_static/a.css"><link rel="search" href="search.html">{TREE}<p id="top">'
PAGE = '<script src="../_static/a.js"></script><a href="../index.html#top">Home</a><a href="https://example.org/">x</a>'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    write(tmp_path, "index.html", INDEX)
    write(tmp_path, "more/page.html", PAGE)
    write(tmp_path, "search.html", "<p>")
    write(tmp_path, "_static/a.css", "@font-face { src: url(data:font/woff2;base64,A) } b { background: url('a.js') }")
    write(tmp_path, "_static/a.js", "/* https://example.org/licence */ const a = 1; fetch('more.json');")
    index = {"docnames": ["index", "more/page"], "terms": {"word": 0}, "titleterms": {"home": 0}}
    write(tmp_path, "searchindex.js", f"Search.setIndex({json.dumps(index)})")
    return tmp_path


def write(site: Path, name: str, text: str) -> None:
    path = site / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_site_that_is_right_has_no_findings(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert findings(site) == []
    assert main([str(site)]) == 0
    assert capsys.readouterr().out == f"{site}: 0 findings\n"


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example.org/a.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.org/css">',
        '<link rel="preconnect" href="https://fonts.example.org">',
        '<img src="http://example.org/badge.svg">',
        '<img srcset="/index.html 1x, https://example.org/2.png 2x">',
        '<iframe src="https://example.org/"></iframe>',
        '<object data="https://example.org/a.svg"></object>',
        '<p style="background: url(https://example.org/a.png)">',
        '<style>@import "https://example.org/a.css";</style>',
        '<script>import("https://example.org/a.js")</script>',
        '<script>const s = document.createElement("script"); s.src = "https://example.org/a.js";</script>',
        '<img src="file:///etc/a.png">',
    ],
)
def test_whatever_is_loaded_from_elsewhere_is_found(site: Path, html: str) -> None:
    write(site, "more/page.html", PAGE + html)
    assert [line for line in findings(site) if "from elsewhere" in line and line.startswith("more/page.html: ")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_static/a.css", "@font-face { src: url(https://fonts.example.org/a.woff2) }"),
        ("_static/a.js", "fetch('https://example.org/telemetry')"),
    ],
)
def test_styles_and_scripts_are_read_as_well(site: Path, name: str, text: str) -> None:
    write(site, name, text)
    assert [line.partition(":")[0] for line in findings(site)] == [name]


@pytest.mark.parametrize(
    ("html", "finding"),
    [
        ('<a href="gone.html">', "gone.html: there is no such file in the site"),
        ('<a href="../index.html#gone">', "../index.html#gone: the page has no such anchor"),
        ('<a href="#gone">', "#gone: the page has no such anchor"),
        ('<a href="../../outside.html">', "../../outside.html: there is no such file in the site"),
        ('<img src="gone.png">', "gone.png: there is no such file in the site"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(site: Path, html: str, finding: str) -> None:
    write(site, "more/page.html", PAGE + html)
    assert findings(site) == [f"more/page.html: {finding}"]


def test_a_page_that_is_not_in_the_navigation_is_found(site: Path) -> None:
    write(site, "index.html", INDEX.replace(TREE, "") + '<a href="more/page.html">only in the text</a>')
    assert findings(site) == ["more/page.html: is not in the navigation"]


def test_a_page_that_the_search_does_not_know_is_found(site: Path) -> None:
    write(site, "searchindex.js", 'Search.setIndex({"docnames": ["index"], "terms": {"a": 0}, "titleterms": {"b": 0}})')
    assert findings(site) == ["more/page.html: the search does not find it"]


@pytest.mark.parametrize("text", ["", "Search.setIndex(", 'Search.other({"docnames": []})'])
def test_a_search_without_an_index_is_found(site: Path, text: str) -> None:
    write(site, "searchindex.js", text)
    assert findings(site) == ["searchindex.js: expected the search index of Sphinx, found none"]


def test_a_directory_without_a_site_is_no_site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    assert "expected index.html, found none" in capsys.readouterr().out


def test_the_navigation_ends_with_its_division() -> None:
    page = read('<div><div class="sidebar-tree"><div></div><a href="in"></a></div><a href="out"></a></div>')
    assert page.navigation == ["in"]
    assert page.links == ["in", "out"]
