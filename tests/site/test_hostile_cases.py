"""docs/security.md: that it has every hostile case, and that marks in the tests are read as pytest reads them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tools import hostile_cases
from tools.hostile_cases import AREAS, BEGIN, END, PAGE, ROOT, Case, MarkError, cases_of, main, read_cases, with_cases

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
import pytest

TWO = [1, 2]

@pytest.mark.hostile
@pytest.mark.parametrize("a", TWO)
@pytest.mark.parametrize("b", [1, 2, 3])
def test_a_fifo_of_a_hub(a, b): ...

@pytest.mark.parametrize("a", [1])
def test_another(a): ...

@pytest.mark.hostile
@pytest.mark.parametrize("a", TWO)
@pytest.mark.parametrize("b", range(3))
def test_what_is_computed(a, b): ...
"""


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return read_cases(ROOT)


def test_the_page_has_the_cases_of_the_tests() -> None:
    assert main(["--check"]) == 0, "run python -m tools.hostile_cases"


def test_every_area_has_cases_and_every_hostile_scenario_is_one(cases: list[Case]) -> None:
    assert {case.area for case in cases} == set(AREAS)
    scenarios = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests/scenarios/hostile").rglob("test_*.py")}
    assert scenarios - {case.path for case in cases} == set()


def test_another_page_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "security.md"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(hostile_cases, "PAGE", page)
    assert main(["--check"]) == 1
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert re.fullmatch(r"before\n.*\nafter\n", page.read_text(encoding="utf-8"), re.DOTALL)


def test_marks_on_tests_and_on_modules() -> None:
    path = "tests/builder/net/test_x.py"
    assert list(cases_of(SOURCE, path)) == [
        Case(path=path, name="a_fifo_of_a_hub", inputs=6),
        Case(path=path, name="what_is_computed", inputs=None),
    ]
    for mark in ("pytest.mark.hostile", "[pytest.mark.onnx, pytest.mark.hostile]"):
        assert len(list(cases_of(f"{SOURCE}\npytestmark = {mark}\n", path))) == 3


@pytest.mark.parametrize("line", ["HOSTILE = pytest.mark.hostile", "pytest.param(1, marks=pytest.mark.hostile)"])
def test_a_mark_elsewhere_is_refused(line: str) -> None:
    with pytest.raises(MarkError, match="found it elsewhere"):
        list(cases_of(f"{SOURCE}\n{line}\n", "tests/builder/net/test_x.py"))


def test_a_case_without_an_area_and_a_page_without_its_place_are_refused() -> None:
    with pytest.raises(MarkError, match="expected a directory that AREAS has"):
        assert Case(path="tests/new/test_x.py", name="x", inputs=None).area
    with pytest.raises(MarkError, match="one of them missing"):
        with_cases(f"{BEGIN}\n", [])


def test_a_case_is_a_sentence() -> None:
    assert Case(path="", name="a_fifo_of_a_hub", inputs=6).sentence == "A FIFO of a Hub"


def test_links_of_the_policy_lead_somewhere() -> None:
    policy = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", policy) if "://" not in link]
    assert {link.partition("#")[0] for link in links} == {"docs/security.md"}
    headings = {
        heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    }
    assert {link.partition("#")[2] for link in links} - {""} <= headings
