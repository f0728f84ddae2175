"""The navigation: folders without a list."""

from __future__ import annotations

from tools.site.navigation import siblings

PAGES = {"index", "a", "one/README", "one/b", "one/a", "one/in/README", "one/in/x", "two/y"}


def test_below_a_readme_are_the_other_pages_of_its_folder_and_the_folders_in_it() -> None:
    assert siblings("one/README", PAGES) == ["a", "b", "in/README"]
    assert siblings("one/in/README", PAGES) == ["x"]
