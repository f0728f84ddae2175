"""Characters that change what is shown, without being seen."""

from __future__ import annotations

import unicodedata

import pytest

from thoth_models.bundle.canonical_json import FormatError, Node, safe_path
from thoth_models.bundle.hidden_characters import HIDDEN, escaped

HOSTILE = {
    "escape": "\x1b",
    "delete": "\x7f",
    "CSI of C1": "\x9b",
    "next line": "\x85",
    "soft hyphen": "\xad",
    "space of no width": "\u200b",
    "right-to-left mark": "\u200f",
    "right-to-left override": "\u202e",
    "isolate": "\u2066",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "byte order mark": "\ufeff",
    "tag": "\U000e0041",
    "half character": "\udcff",
}


@pytest.mark.hostile
@pytest.mark.parametrize("character", HOSTILE.values(), ids=list(HOSTILE))
def test_hidden_characters_are_refused_in_paths_and_shown_as_escapes(character: str) -> None:
    shown = escaped(f"a{character}b\tc\n")
    assert shown == f"a{character.encode('unicode_escape').decode()}b\tc\n"
    with pytest.raises(FormatError, match="hidden character") as caught:
        safe_path(Node(f"mini/{character}.txt", "path"))
    assert character not in str(caught.value)


def test_text_of_all_scripts_stays_as_it_is() -> None:
    text = "é ß 日本語 हिन्दी ‌ می‌خواهم 👩‍🔬 ÿ €"
    assert escaped(text) == text
    assert safe_path(Node("mini/日本語.txt", "path")) == "mini/日本語.txt"


def test_every_control_and_format_character_is_one_of_them_except_those_that_scripts_need() -> None:
    """By the table of this release of Python. Other marks, such as variation selectors, change no order."""
    kept = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    kept = {character for character in kept if not HIDDEN.fullmatch(character)}
    assert {"\u200c", "\u200d"} <= kept
    # Signs of scripts (Arabic, Syriac, Kaithi, hieroglyphs, shorthand) and of music are seen, or belong to letters.
    blocks = [(0x600, 0x605), (0x6DD, 0x6DD), (0x70F, 0x70F), (0x890, 0x8E2), (0x200C, 0x200D), (0x110BD, 0x110CD)]
    blocks += [(0x13430, 0x1343F), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A)]
    assert [hex(ord(one)) for one in kept if not any(first <= ord(one) <= last for first, last in blocks)] == []
