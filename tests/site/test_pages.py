"""What every page must be like, beyond what `nox -s docs` sees when it builds them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.public import PUBLIC

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])

_PLACEHOLDER = re.compile(
    r"\b(?:OWNER|YOUR[-_]?[A-Z]*|COMMIT|ORG|USERNAME|CHANGEME|TODO|FIXME|XXX)\b|<your[^>]*>|example\.(?:com|org|net)"
)
"""Words that a reader would have to replace. `you/thoth-models` is set once, at the top of docs/ci.md."""


def names_to_replace(text: str) -> list[str]:
    return _PLACEHOLDER.findall(text)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_page_has_a_name_to_replace(path: Path) -> None:
    assert names_to_replace(path.read_text(encoding="utf-8")) == []


def test_a_name_to_replace_would_be_seen() -> None:
    for text in ("OWNER/thoth-models@COMMIT", "YOUR-TOKEN", "https://models.example.com/", "<your name>", "TODO"):
        assert names_to_replace(text)
    assert names_to_replace("SERVICE_OWNERS, for your own list, an example") == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_only_pages_are_linked_with_a_fragment(path: Path) -> None:
    """MyST drops the fragment of any other file without a word, so that a line that moved would not be noticed."""
    links = re.findall(r"\]\(([^)\s:]+)#[^)\s]*\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not link.endswith((".md", "/"))] == []


def documented(module: str) -> set[str]:
    """Return the names of a public module that the reference documents; `*` for all that it defines or lists."""
    found: set[str] = set()
    for page in (DOCS / "reference").glob("*.rst"):
        text = page.read_text(encoding="utf-8")
        if re.search(rf"^\.\. automodule:: {re.escape(module)}\n(?:   :.*\n)*?   :members:\n", text, re.MULTILINE):
            found.add("*")
        found |= set(re.findall(rf"^\.\. auto(?:class|function):: {re.escape(module)}\.(\w+)$", text, re.MULTILINE))
    return found


@pytest.mark.parametrize("module", sorted(set(PUBLIC) - {"thoth_models_builder"}))
def test_every_public_name_is_in_the_reference(module: str) -> None:
    errors = set(PUBLIC["thoth_models.errors"]) if module == "thoth_models" else set()
    found = documented(module)
    assert "*" in found or set(PUBLIC[module]) - errors - {"__version__"} == found


def test_only_pages_of_the_site_alone_have_directives() -> None:
    """All others are read in the file view of a hosting site as well, which shows a directive as code."""
    having = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "```{" in path.read_text("utf-8")}
    assert having == {"index.md"}


def test_the_blocks_of_the_first_page_are_those_of_the_readme() -> None:
    """Those of the README are run; here they are the same, so that there is one set of first commands."""
    blocks = re.compile(r"^```(?:console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    readme = blocks.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    first = blocks.findall((DOCS / "index.md").read_text(encoding="utf-8"))
    assert len(first) == 3
    assert [block for block in first if block not in readme] == []
