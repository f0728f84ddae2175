"""The pages of recipes: each is listed, tested, short, and installs what the session of the tests does."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from tests.support.pages import SOURCES

PAGES = sorted(path for path in (SOURCES / "docs" / "recipes").glob("*.md") if path.stem != "README")
MAX_LINES = 80
_INSTALL = re.compile(r"^```console\n(pip install .*)\n```$", re.MULTILINE)
_LISTED = re.compile(r"^\| \[[^]]+\]\(([\w-]+)\.md\) \|", re.MULTILINE)


def test_all_pages_are_listed() -> None:
    table = (SOURCES / "docs" / "recipes" / "README.md").read_text(encoding="utf-8")
    assert sorted(_LISTED.findall(table)) == [path.stem for path in PAGES]
    assert len(PAGES) >= 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_tested_and_short(page: Path) -> None:
    test = Path(__file__).parent / f"test_{page.stem.replace('-', '_')}.py"
    assert f'"{page.stem}"' in test.read_text(encoding="utf-8")
    assert len(page.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("page", ["bertopic", "keybert", "mteb", "txtai"])
def test_a_page_whose_framework_needs_torch_says_how_to_get_it_without_cuda(page: str) -> None:
    text = (SOURCES / "docs" / "recipes" / f"{page}.md").read_text(encoding="utf-8")
    assert "../../README.md#the-cpu-build-of-torch" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_installs_what_the_session_installs(page: Path) -> None:
    settings = tomllib.loads((SOURCES / "pyproject.toml").read_text(encoding="utf-8"))
    (command,) = _INSTALL.findall(page.read_text(encoding="utf-8"))
    ours, *others = shlex.split(command)[2:]
    assert ours in ("thoth-models[onnx]", "thoth-models[onnx,llama-index]")
    assert set(others) <= set(settings["dependency-groups"]["recipes"])
