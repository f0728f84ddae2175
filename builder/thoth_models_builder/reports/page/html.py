"""Render the page: one HTML file without scripts, and without anything that a browser would fetch.

Names, texts and messages come from models, sources and files of others. Three things keep them from becoming more than
text: Jinja2 escapes every value, :func:`visible` shows characters that would change what a reader sees, and a
Content-Security-Policy allows the page's own style and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from importlib import resources
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from thoth_models.bundle.hidden_characters import HIDDEN
from thoth_models_builder.reports.page.benchmarks import METRICS

if TYPE_CHECKING:
    from thoth_models_builder.reports.page.contents import Page

_MAX_TEXT: Final = 160
"""Longest text of others that is shown as a whole, in characters: one golden text has thousands."""


def render(page: Page) -> bytes:
    """Return the page as UTF-8; the same facts give the same bytes."""
    style = _read("page.css")
    template = _environment().from_string(_read("page.html.j2"))
    text = template.render(page=page, style=Markup(style), policy=_policy(style), metrics=METRICS)  # noqa: S704 - ours
    return f"{text.strip()}\n".encode()


def visible(value: object) -> object:
    """Return a value as it is shown: hidden characters of a text become ``[U+202E]``.

    Raises:
        TypeError: The value is neither text nor a number; a template that shows None has a fault.
    """
    if isinstance(value, (Markup, StrictUndefined)):  # the latter raises once it is shown, with its name
        return value
    if isinstance(value, str):
        return HIDDEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    raise TypeError(f"expected text or a number to show, found {value!r:.100}")


def excerpt(text: str) -> str:
    """Return a text of others in a form that one can see: not empty, not only spaces, not of a thousand characters."""
    if not text:
        return "(empty)"
    if text.isspace() and not HIDDEN.search(text):
        return f"({len(text)} space{'s' if len(text) > 1 else ''})"
    if len(text) > _MAX_TEXT:
        return f"{_cut(text)}… ({len(text):,} characters)"
    return text


def _cut(text: str) -> str:
    """Return the beginning of a text, not ending within a character that has accents or joiners of its own."""
    end = _MAX_TEXT
    while end > 1 and (unicodedata.combining(text[end]) or "\u200d" in text[end - 1 : end + 1]):
        end -= 1
    return text[:end]


def size(count: int) -> str:
    """Return a number of bytes with a unit, in powers of 1,000 as the registries and `docker images` count."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:,} byte{'' if count == 1 else 's'}"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def ratio(value: float) -> str:
    """Return a ratio with three digits."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def anchor(text: str) -> str:
    """Return an identifier for a text of others, which may have spaces or quotes."""
    return f"m-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=visible, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"size": size, "excerpt": excerpt, "count": count, "ratio": ratio, "anchor": anchor}
    return environment


def _policy(style: str) -> str:
    """Return the Content-Security-Policy, which names the one style by its digest."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _read(name: str) -> str:
    return resources.files(__package__ or "").joinpath(name).read_text(encoding="utf-8")
