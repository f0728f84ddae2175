"""docs/models.md: that it says what the table says, and that models.yaml takes what it shows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from thoth_models_builder.errors import SpecError
from thoth_models_builder.spec.models_yaml import parse_spec
from tools import models_page
from tools.models_page import DIGEST, PAGE, TABLE, main, read_table, render

if TYPE_CHECKING:
    from pathlib import Path

SNIPPETS = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def in_a_file(snippet: str) -> bytes:
    """Put a snippet below `models:`, as the page says."""
    name = snippet.split(":", 1)[0].strip()
    head = f"version: 1\nbundle: {{name: page, default: {name}}}\nmodels:\n"
    return (head + snippet.replace(DIGEST, "a" * 64)).encode()


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(read_table(TABLE))
    assert main(["--check"]) == 0


def test_another_page_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "models.md"
    monkeypatch.setattr(models_page, "PAGE", page)
    assert main(["--check"]) == 1
    assert main([]) == 0
    assert main(["--check"]) == 0
    page.write_text(page.read_text(encoding="utf-8").replace("384", "385"), encoding="utf-8")
    assert main(["--check"]) == 1


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.split(":", 1)[0].strip())
def test_a_snippet_is_a_models_yaml(snippet: str) -> None:
    spec = parse_spec(in_a_file(snippet), "docs/models.md")
    assert list(spec.models) == [spec.bundle.default]


def test_every_model_is_on_the_page_and_none_twice() -> None:
    page = PAGE.read_text(encoding="utf-8")
    models = [model for family in read_table(TABLE) for model in family.models]
    names = [model.id for model in models]
    assert len(set(names)) == len(names)
    assert [name for name in names if page.count(f"| `{name}` |") != 1] == []
    assert [model.id for model in models if model.models_yaml and f"`{model.id}`" not in page] == []


def test_a_misspelt_key_on_the_page_would_be_noticed() -> None:
    with pytest.raises(SpecError):
        parse_spec(in_a_file(SNIPPETS[0].replace("variants", "varieties")), "docs/models.md")
