"""The page as bytes: escaped, closed to everything outside, the same each time; a browser looks at it elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from tests.support.bundles import make_writable
from tests.support.reported import HOSTILE, full_bundle, hostile_bundle
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.hidden_characters import HIDDEN
from thoth_models.verification.verify import open_bundle
from thoth_models_builder.pipeline.page.write_page import page_of
from thoth_models_builder.reports.page import html
from thoth_models_builder.reports.page.html import anchor, count, excerpt, ratio, render, size, visible

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("pages")
    full_bundle(place / "full")
    hostile_bundle(place / "hostile")
    yield place
    make_writable(place)


def text_of(place: Path, name: str, against: str | None = None) -> str:
    old = None if against is None else open_bundle(place / against)
    return render(page_of(open_bundle(place / name), old, None)).decode()


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text in it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.hostile
def test_what_others_wrote_makes_no_element_and_no_attribute(place: Path) -> None:
    hostile, harmless = Elements(text_of(place, "hostile")), Elements(text_of(place, "full"))
    known = {(tag, name) for tag, attributes in harmless.found for name in ("", *attributes)}
    assert {(tag, name) for tag, attributes in hostile.found for name in ("", *attributes)} - known == {
        ("q", "")
    } - known
    for text in HOSTILE[:4]:
        assert text in hostile.text


def test_files_that_are_not_as_the_origin_has_them_are_listed_with_the_reasons(place: Path) -> None:
    text = " ".join(Elements(text_of(place, "full")).text.split())
    assert "Configured: 2 files not as the origin has them" in text
    assert f"config.json: one; two, in place of {Digest.of(b'as published').hex[:12]}" in text
    assert "modules.json: pooling: mean, added" in text
    assert text.count("Configured:") == 1


def test_the_release_is_beside_what_it_is(place: Path) -> None:
    page = page_of(open_bundle(place / "full"), None, None)
    assert "Model bundle\n" in Elements(html.render(page).decode()).text
    assert "Model bundle, release 7\n" in Elements(html.render(replace(page, bundle_release=7)).decode()).text


@pytest.mark.hostile
def test_characters_that_hide_or_turn_text_are_shown(place: Path) -> None:
    text = text_of(place, "hostile")
    assert "safe[U+202E]exe.cod" in text
    assert "line[U+000D][U+000A]feed[U+0000][U+001B][31m[U+2028][U+FEFF]" in text
    assert not HIDDEN.search(text.replace("\n", ""))


@pytest.mark.hostile
def test_the_page_fetches_nothing_and_its_policy_names_the_style(place: Path) -> None:
    elements = Elements(text_of(place, "full", "hostile"))
    names = {name for _, attributes in elements.found for name in attributes}
    assert names.isdisjoint({"src", "srcset", "style", "onload", "action"})
    links = {attributes["href"] for tag, attributes in elements.found if tag == "a"}
    assert all((link or "").startswith("#") for link in links)
    assert {tag for tag, _ in elements.found}.isdisjoint({"script", "link", "img", "iframe", "object", "base", "image"})
    style = html._read("page.css")
    assert re.findall(r"url\((.*?)\)|@import", style) == ["#stripes"]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = (a["content"] for tag, a in elements.found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert f"<style>{style}</style>" in text_of(place, "full")


def test_every_link_leads_to_a_part_of_the_page(place: Path) -> None:
    elements = Elements(text_of(place, "full", "hostile"))
    identifiers = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {attributes["href"] for tag, attributes in elements.found if tag == "a"} <= {
        f"#{id_}" for id_ in identifiers
    }


def test_the_same_facts_give_the_same_bytes(place: Path, tmp_path: Path) -> None:
    full_bundle(tmp_path / "elsewhere" / "another-name")
    copied = render(page_of(open_bundle(tmp_path / "elsewhere" / "another-name"), None, None))
    make_writable(tmp_path)
    assert copied.decode() == text_of(place, "full")
    assert str(place) not in copied.decode()


def test_a_name_that_the_template_lacks_is_an_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "_read", lambda name: "{{ page.nmae }}")
    with pytest.raises(UndefinedError, match="nmae"):
        text_of(place, "full")


def test_what_is_none_is_not_shown_as_a_word(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = replace(page_of(open_bundle(place / "full"), None, None), default=None)
    monkeypatch.setattr(html, "_read", lambda name: "{{ page.default }}")
    with pytest.raises(TypeError, match="expected text or a number to show, found None"):
        render(page)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain é 日本", "plain é 日本"),
        ("a\u202eb\u2066c", "a[U+202E]b[U+2066]c"),
        ("\ud800", "[U+D800]"),
        ("👩\u200d👧 க\u200cஷ", "👩\u200d👧 க\u200cஷ"),
        (Markup("<b>\u202e</b>"), "<b>\u202e</b>"),
        (3, 3),
        (0.5, 0.5),
    ],
)
def test_hidden_characters_become_visible(value: object, shown: object) -> None:
    assert visible(value) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "(empty)"),
        (" ", "(1 space)"),
        ("   ", "(3 spaces)"),
        ("\n", "\n"),
        ("short", "short"),
        ("y" * 160, "y" * 160),
        ("y" * 1000, "y" * 160 + "… (1,000 characters)"),
        ("y" * 159 + "e\u0301" + "z" * 9, "y" * 159 + "… (170 characters)"),
    ],
)
def test_a_text_that_one_could_not_see_is_described(text: str, shown: str) -> None:
    assert excerpt(text) == shown


def test_figures_have_units_and_nouns() -> None:
    assert [size(value) for value in (0, 1, 999, 1000, 90_420_736, 4 * 10**9)] == [
        *("0 bytes", "1 byte", "999 bytes", "1.0 kB", "90.4 MB", "4.0 GB")
    ]
    assert [count(1, "file"), count(2000, "file"), count(2, "changed", "changed")] == [
        "1 file",
        "2,000 files",
        "2 changed",
    ]
    assert [ratio(0.0621), ratio(2.391)] == ["0.062", "2.39"]


def test_an_anchor_is_an_identifier_whatever_the_text() -> None:
    assert re.fullmatch(r"m-[0-9a-f]{12}", anchor('" onclick=x \ud800'))
    assert anchor("a") != anchor("b")


# --- colours ---


def colours(scheme: str) -> dict[str, tuple[float, float, float]]:
    """Return the colours of the light or the dark page, from 0 to 1."""
    style = html._read("page.css")
    light, dark = (style.index(part) for part in (":root {", "@media (prefers-color-scheme: dark)"))
    block = style[light if scheme == "light" else dark :].partition("\n}")[0]
    found = dict(re.findall(r"--([a-z-]+): #([0-9a-f]{6});", block))
    return {
        name: (int(value[0:2], 16) / 255, int(value[2:4], 16) / 255, int(value[4:6], 16) / 255)
        for name, value in found.items()
    }


def contrast(first: tuple[float, float, float], second: tuple[float, float, float]) -> float:
    """Return the contrast ratio by WCAG 2, from 1 to 21."""

    def luminance(colour: tuple[float, float, float]) -> float:
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_contrast_enough_also_in_drawings(scheme: str) -> None:
    """axe-core does not look at text and marks in SVG."""
    found = colours(scheme)
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)
    for text in ("text", "quiet", "mark", "good", "bad", "warn"):
        assert contrast(found[text], found["ground"]) >= 4.5, text
    for text in ("good", "bad", "warn"):
        assert contrast(found[text], found[f"{text}-ground"]) >= 4.5, text
    assert contrast(found["mark"], found["track"]) >= 3
