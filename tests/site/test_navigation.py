"""The navigation: folders without a list, places that may stay empty."""

from __future__ import annotations

from tools.site.navigation import siblings, without_empty_places

PAGES = {"index", "a", "one/README", "one/b", "one/a", "one/in/README", "one/in/x", "two/y"}


def test_below_a_readme_are_the_other_pages_of_its_folder_and_the_folders_in_it() -> None:
    assert siblings("one/README", PAGES) == ["a", "b", "in/README"]
    assert siblings("one/in/README", PAGES) == ["x"]


def test_a_place_stays_where_there_is_a_page_for_it() -> None:
    text = "# Home\n\n```{toctree}\n:hidden:\n\na\none/README*\ngone*\n```\n"
    assert without_empty_places(text, PAGES) == "# Home\n\n```{toctree}\n:hidden:\n\na\none/README*\n```\n"


def test_a_list_of_empty_places_goes() -> None:
    assert without_empty_places("x\n```{toctree}\n:glob:\n\ngone*\n```\ny\n", PAGES) == "x\ny\n"


def test_a_page_by_name_stays_though_there_is_none_so_that_sphinx_warns() -> None:
    text = "```{toctree}\n\ngone\n```\n"
    assert without_empty_places(text, PAGES) == text
