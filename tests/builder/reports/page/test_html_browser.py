"""The page in Chromium: nothing is fetched, nothing of others runs, nothing overflows, and axe-core finds no fault."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import browser, faults, opened
from tests.support.bundles import flip_bit, make_bundle, make_writable
from tests.support.reported import full_bundle, hostile_bundle, plain_plan
from thoth_models_builder.pipeline.page.write_page import PageOptions, write_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.unmeasured]

PAGES = ("full", "changed", "hostile", "bare", "damaged")
WIDTHS = (360, 768, 1280)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("pages")
    full_bundle(place / "full")
    full_bundle(place / "changed", more=b"!", space="two")
    hostile_bundle(place / "hostile")
    make_bundle(place / "bare", [plain_plan()])
    full_bundle(place / "damaged")
    flip_bit(place / "damaged", "mini/golden.json", offset=20)
    for name in PAGES:
        against = place / "full" if name == "changed" else None
        write_page(PageOptions(bundle=place / name, output=place / f"{name}.html", against=against))
    yield place
    make_writable(place)


@pytest.mark.hostile
@pytest.mark.parametrize("name", PAGES)
def test_no_request_leaves_and_nothing_of_others_runs(chromium: Browser, pages: Path, name: str) -> None:
    with opened(chromium, pages / f"{name}.html") as seen:
        assert seen.requests == []
        assert seen.console == []
        assert seen.page.title().startswith("Model bundle ")


def test_a_request_would_be_seen(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text('<img src="http://127.0.0.1:9/image.png">', encoding="utf-8")
    with opened(chromium, tmp_path / "page.html") as seen:
        assert seen.requests == ["http://127.0.0.1:9/image.png"]


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A server of the outside: its address, and the paths that it was asked for."""
    asked: list[str] = []

    class Outside(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Outside) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.mark.hostile
def test_the_policy_alone_keeps_scripts_styles_and_images_away(
    chromium: Browser, pages: Path, tmp_path: Path, listener: tuple[str, list[str]]
) -> None:
    """If escaping failed once."""
    outside, asked = listener
    attack = f"""<script>document.title = 'run'</script><img src="{outside}/image" onerror="document.title = 'run'">
    <style>body {{ display: none }}</style><base href="{outside}/"><iframe src="{outside}/frame"></iframe>
    <link rel="stylesheet" href="{outside}/style">"""
    text = (pages / "full.html").read_text(encoding="utf-8")
    (tmp_path / "policy.html").write_text(text.replace("<main>", f"<main>{attack}"), encoding="utf-8")
    (tmp_path / "none.html").write_text(f"<title>Model bundle</title><main>{attack}</main>", encoding="utf-8")
    with opened(chromium, tmp_path / "policy.html") as seen:
        assert asked == []
        assert seen.page.title().startswith("Model bundle ")
        assert seen.page.locator("h1").is_visible()
        assert seen.page.evaluate("document.baseURI").startswith("file:")
    with opened(chromium, tmp_path / "none.html") as seen:
        assert {"/image", "/frame", "/style"} <= set(asked)
        assert seen.page.title() == "run"


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_fault_of_contrast_or_structure(chromium: Browser, pages: Path, name: str) -> None:
    with opened(chromium, pages / f"{name}.html") as seen:
        assert faults(seen.page) == []
        seen.page.emulate_media(color_scheme="dark")
        assert faults(seen.page, "color-contrast") == []


def test_axe_would_find_a_fault(chromium: Browser, pages: Path, tmp_path: Path) -> None:
    fault = '<h5>A heading</h5><p style="color: #999; background: #fff">hardly to be read</p><table><th></th></table>'
    text = (pages / "bare.html").read_text(encoding="utf-8")
    head = text[text.index('<meta http-equiv="Content-Security-Policy"') :].partition(">")[0]
    (tmp_path / "page.html").write_text(text.replace(f"{head}>", "").replace("<main>", f"<main>{fault}"), "utf-8")
    with opened(chromium, tmp_path / "page.html") as seen:
        assert {"color-contrast", "heading-order"} <= {rule for rule, _ in faults(seen.page)}


CUT = """[...document.querySelectorAll('.plot text')].filter(text => {
    const [own, plot] = [text, text.closest('svg')].map(part => part.getBoundingClientRect());
    return own.left < plot.left - 1 || own.right > plot.right + 1;
}).map(text => text.textContent)"""
"""Labels of a plot that are not wholly in it."""


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_no_wider_than_the_window(chromium: Browser, pages: Path, name: str) -> None:
    with opened(chromium, pages / f"{name}.html") as seen:
        for width in WIDTHS:
            seen.page.set_viewport_size({"width": width, "height": 900})
            assert seen.page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
            assert seen.page.evaluate(CUT) == []
            # Where a table scrolls, a keyboard reaches it.
            assert faults(seen.page, "scrollable-region-focusable") == []


def test_a_page_that_is_too_wide_would_be_seen(chromium: Browser, pages: Path, tmp_path: Path) -> None:
    text = (pages / "hostile.html").read_text(encoding="utf-8")
    head = text[text.index('<meta http-equiv="Content-Security-Policy"') :].partition(">")[0]
    (tmp_path / "page.html").write_text(text.replace(f"{head}>", "").replace("overflow-wrap: anywhere;", ""), "utf-8")
    with opened(chromium, tmp_path / "page.html", width=360) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") > 360


def test_light_and_dark_differ(chromium: Browser, pages: Path) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        with opened(chromium, pages / "full.html", scheme=scheme) as seen:
            grounds.append(seen.page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
    assert grounds == ["rgb(255, 255, 255)", "rgb(19, 22, 26)"]


def test_paper_has_what_is_folded_on_the_screen_and_is_light(chromium: Browser, pages: Path) -> None:
    with opened(chromium, pages / "full.html", scheme="dark") as seen:
        page = seen.page
        page.evaluate("document.querySelectorAll('details').forEach(part => part.open = false)")
        table = page.locator("details table").first
        shown = "part => part.checkVisibility({contentVisibilityAuto: true}) && part.offsetHeight > 0"
        assert not table.evaluate(shown)
        page.emulate_media(media="print", color_scheme="dark")
        assert table.evaluate(shown)
        assert not page.locator("nav").is_visible()
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
        assert page.pdf(format="A4").startswith(b"%PDF-")


def test_the_dots_are_where_the_figures_are(chromium: Browser, pages: Path) -> None:
    """Of two texts, the dot of the closer one is not left of the other."""
    with opened(chromium, pages / "full.html", width=360) as seen:
        dots = seen.page.evaluate(
            """[...document.querySelectorAll('.plot circle')].map(dot =>
                [Number(dot.textContent.split(': ')[1]), dot.getBoundingClientRect().left])"""
        )
    assert len(dots) == 24
    rounded = sorted(dots[8:16])
    assert [left for _, left in rounded] == sorted(left for _, left in rounded)
    assert rounded[0][1] < rounded[-1][1] - 100
