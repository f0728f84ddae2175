"""Characters that a reader does not see, but that change what a terminal, an editor or a review shows. Pure.

Names and messages come from models, sources and files of others. Such a character in one could move the cursor, reverse
the order of a line, or make two names look alike. Names that have one are refused; other text is shown with escapes.
"""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
"""Control characters, marks that change the direction of text, line separators, half characters, spaces of no width.

Joiners (U+200C, U+200D) are not among them: scripts and emoji need them."""


def escaped(text: str, *, keep: str = "\n\t") -> str:
    r"""Return a text with hidden characters as escapes, such as ``\u202e``, except those to ``keep``."""

    def escape(found: re.Match[str]) -> str:
        return found[0] if found[0] in keep else found[0].encode("unicode_escape").decode()

    return HIDDEN.sub(escape, text)
