"""The search of the site: `nox -s docs` opens it in a browser, which a script stands in for here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tools.site.search import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A browser that prints what the site has at the address, with the query as it came."""
    program = tmp_path / "bin" / "chromium"
    program.parent.mkdir()
    program.write_text(
        '#!/usr/bin/env bash\nfor last; do :; done\n[[ $last == *"search.html?q=a%20word" ]] || exit 1\n'
        'exec 3<>"/dev/tcp/127.0.0.1/$(sed "s,.*:\\([0-9]*\\)/.*,\\1," <<<"$last")"\n'
        'printf "GET /search.html HTTP/1.0\\r\\n\\r\\n" >&3\ncat <&3\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "search.html").write_text(
        '<ul><li class="nav"><a href="elsewhere.html">in the navigation</a></li></ul><div id="search-results"><ul>'
        '<li class="kind-text"><a href="more/page.html?highlight=a#x">Page</a></li></ul></div>'
    )
    return tmp_path / "site"


@pytest.mark.parametrize(("page", "code"), [("more/page.html", 0), ("elsewhere.html", 1), ("gone.html", 1)])
def test_the_page_must_be_among_the_results(
    browser: Path, page: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(browser), "a word", page]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "search for a word: 1 results"
    assert lines[1:] == ([] if code == 0 else [f"expected {page} among them, found more/page.html"])


def test_without_a_browser_it_is_said_that_nothing_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([str(tmp_path), "word", "page.html"]) == 0
    assert "search: not tried" in capsys.readouterr().out
