"""Links to files of the repository: a small project is built twice, with and without an address of the repository."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tools.site.repository_links import headings

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = "https://git.example.org/a/b"
LINKED = {
    "../../docker/compose.yaml": "blob/v1/docker/compose.yaml",
    "../../docker": "tree/v1/docker",
    "../../README.md": "blob/v1/README.md",
    "../../README.md#run-the-tests-1": "blob/v1/README.md#run-the-tests-1",
}
BROKEN = {
    "../../docker/gone.yaml": "cross-reference target not found: '../../docker/gone.yaml'",
    "../../README.md#gone": "README.md has no heading #gone",
    "../../docker#services": "docker has no heading #services",
    "../index.md#gone": "local id not found in doc 'index': 'gone'",
    "gone.md": "cross-reference target not found: 'gone.md'",
}
INSIDE = {"../index.md#home": 'href="../index.html#home"', "data.csv": 'href="../_downloads/'}


@dataclass(frozen=True)
class Built:
    """A built project: the directory, the address of its repository, and the warnings."""

    place: Path
    address: str
    warnings: str

    def html(self, page: str) -> str:
        html = (self.place / "site" / "deep" / f"{page}.html").read_text(encoding="utf-8")
        (text,) = re.findall(r"<h1>.*?</h1>(.*?)</section>", html, re.DOTALL)
        return str(text)

    def about(self, page: str) -> list[str]:
        return [line for line in self.warnings.splitlines() if f"/{page}.md:" in line]


def page_of(link: str) -> str:
    return f"page{[*LINKED, *BROKEN, *INSIDE].index(link)}"


@pytest.fixture(scope="module", params=["", ADDRESS], ids=["without-address", "with-address"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    place = tmp_path_factory.mktemp("repository")
    docs = place / "docs"
    (docs / "deep").mkdir(parents=True)
    (place / "docker").mkdir()
    (place / "docker" / "compose.yaml").write_text("services: {}\n")
    (place / "README.md").write_text("# Name\n\n## Run the `tests`\n\n## Run the tests\n")
    (docs / "index.md").write_text("# Home\n\n```{toctree}\n:glob:\ndeep/*\n```\n")
    (docs / "deep" / "data.csv").write_text("1\n")
    for link in (*LINKED, *BROKEN, *INSIDE):
        (docs / "deep" / f"{page_of(link)}.md").write_text(f"# Page\n\nsee [the `file`]({link}).\n")
    settings = {
        "extensions": "myst_parser,tools.site.repository_links",
        "html_theme": "basic",
        "myst_heading_anchors": "6",
        "repository_root": str(place),
        "repository_url": request.param,
        "repository_revision": "v1",
    }
    defined = [f"--define={name}={value}" for name, value in settings.items()]
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "--isolated",
        "--quiet",
        "--no-color",
        *defined,
        str(docs),
        str(place / "site"),
    ]
    finished = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr
    return Built(place, request.param, finished.stderr)


@pytest.mark.parametrize("link", LINKED)
def test_a_file_of_the_repository_is_linked_in_its_file_view_or_named(built: Built, link: str) -> None:
    html = built.html(page_of(link))
    expected = [f"{ADDRESS}/{LINKED[link]}"] if built.address else []
    assert re.findall(r'href="(.*?)"', html) == expected
    assert re.sub("<.*?>", "", html).strip() == "see the file."
    assert built.about(page_of(link)) == []


@pytest.mark.parametrize("link", BROKEN)
def test_a_link_that_leads_nowhere_is_a_warning(built: Built, link: str) -> None:
    (warning,) = built.about(page_of(link))
    assert BROKEN[link] in warning


@pytest.mark.parametrize("link", INSIDE)
def test_pages_and_files_beside_them_stay_in_the_site(built: Built, link: str) -> None:
    assert INSIDE[link] in built.html(page_of(link))
    assert built.about(page_of(link)) == []


def test_the_headings_of_a_file_are_those_outside_of_code() -> None:
    text = "# A `b` & C\n\n```\n# no heading\n```\n\n## Same\n\n## Same\n"
    assert headings(text) == ["a-b--c", "same", "same-1"]
