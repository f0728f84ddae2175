"""Search in a built site with a browser: ``python -m tools.site.search SITE WORD PAGE``.

The site is served as any static host does, and Chromium, which can reach nothing else, opens the search with the word.
One of the results must be the page. Where there is no Chromium, that is said, and nothing is tried.
"""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 120.0
"""Deadline of the browser, which takes about two seconds."""

_PATIENCE = 10_000
"""Time of the page, in milliseconds, that its scripts get; the browser does not wait so long when nothing happens."""
_RESULT = re.compile(r'<li[^>]*><a href="([^"]+)"')


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Say nothing of requests."""


def results(browser: str, site: str, word: str) -> list[str]:
    """Return the pages that the search of a site finds, best first, relative to the site.

    Args:
        browser: Chromium, or a browser with its options.
        site: Directory that Sphinx wrote.
        word: What a reader would type.
    """
    handler = functools.partial(_Silent, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, tempfile.TemporaryDirectory() as profile:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/search.html?q={quote(word)}"
        alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        quiet = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", alone]
        command = [browser, *quiet, f"--virtual-time-budget={_PATIENCE}", "--dump-dom", address]
        try:
            finished = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)  # noqa: S603
        finally:
            server.shutdown()
            thread.join()
    return [urlsplit(found).path for found in _RESULT.findall(finished.stdout.partition('id="search-results"')[2])]


def main(arguments: Sequence[str]) -> int:
    """Print what the search finds; return 1 if the page is not among it."""
    site, word, page = arguments
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.stdout.write(f"search: not tried, because there is none of {', '.join(BROWSERS)}\n")
        return 0
    found = results(browser, site, word)
    sys.stdout.write(f"search for {word}: {len(found)} results\n")
    if page in found:
        return 0
    sys.stdout.write(f"expected {page} among them, found {', '.join(found) or 'none'}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
