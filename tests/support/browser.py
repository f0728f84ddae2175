"""Chromium without a window, for tests of pages; and what such tests look for."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "google-chrome")
"""Names of the program: Debian's, and the one that GitHub's runners have."""

Scheme = Literal["light", "dark"]
SECONDS = 30
"""Deadline of each step in the browser."""


def program() -> str:
    """Return where Chromium is; without it a test is skipped, but never where tests run unattended."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        # A run of CI that has tested nothing must not be green.
        (pytest.fail if os.environ.get("CI") else pytest.skip)("expected chromium on the PATH, found none")
    return found


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Start the system's Chromium; none is downloaded."""
    chromium = program()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Its sandbox does not work for root; the pages are the tests' own.
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=SECONDS * 1000)
        try:
            yield started
        finally:
            started.close()


@dataclass
class Opened:
    """A page in a browser, the addresses that it asked for besides its own, and what the console said."""

    page: Page
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)


@contextlib.contextmanager
def opened(browser: Browser, path: Path, *, width: int = 1280, scheme: Scheme = "light") -> Iterator[Opened]:
    """Open a file as a reader does, with every list in it unfolded."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(SECONDS * 1000)
    found = Opened(context.new_page())
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.on("console", lambda message: found.console.append(message.text))
    found.page.on("pageerror", lambda error: found.console.append(str(error)))
    try:
        found.page.goto(path.as_uri())
        found.requests.remove(path.as_uri())
        found.page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        yield found
    finally:
        context.close()


def faults(page: Page, *rules: str) -> list[tuple[str, str]]:
    """Return what axe-core finds by these rules, or by all: for each fault the rule, and where.

    What it cannot decide counts too, except the contrast of text in or beside a drawing, or scrolled out of its table:
    the colours of the page are compared with each other in test_html.
    """
    from axe_playwright_python.sync_playwright import Axe

    options = {"runOnly": list(rules)} if rules else None
    found: dict[str, Any] = Axe().run(page, options=options).response
    return [
        (rule["id"], node["html"][:200])
        for rule in (*found["violations"], *found["incomplete"])
        for node in rule["nodes"]
        if not any((check["data"] or {}).get("messageKey") in _UNDECIDED for check in node["any"])
    ]


_UNDECIDED = ("elmPartiallyObscured", "imgNode", "pseudoContent")
