"""The texts that are encoded: generated, the same ones in every run. Pure."""

from __future__ import annotations

import bisect
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_WORDS = tuple(
    re.findall(
        r"\S+",
        """
account address agreement amount answer article balance bank bread building business capital change child city
client column company condition contract country course customer data date delivery department description detail
document employee error event example family first form group health history house identifier image index
information invoice item key language last law letter level line list market meaning measure member message method
model money month music name nature number object office order page payment people period person place plan point
power price problem process product program project quality question range reason record region report request
result river road sale school science section service sheet shop side size source space state station status street
student study subject summer supplier system table task tax team test text theory thing time title total town
transfer tree truth type unit user value vector view visit voice volume water week weight window winter woman word
work worker world year zone the of and to in is for on with as by from that this are
""",
    )
)
_OTHERS = tuple(
    re.findall(
        r"\S+",
        """
first_name customer_id created_at SELECT COUNT(*) FROM orders WHERE NULL 2024-03-31 42 3.14159
prénom été rivière straße größe año corazón вода хлеб город длинный ένα ποτάμι
שלום עולם مرحبا بالعالم नमस्ते दुनिया 東京 日本語の水 한국어 🙂 🚀
""",
    )
)

FIRST_TEXT = "first name of the customer"
"""What a new process encodes to show that it can."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How many texts of each kind there are.

    Attributes:
        short: Of 3 to 12 words.
        long: Of 250 to 400 words, which every model here cuts at its maximum.
        mixed: Most of them short, some of a paragraph, a few long; every tenth word of another language, or no word.
    """

    short: int
    long: int
    mixed: int


def make_texts(sizes: Sizes) -> dict[str, list[str]]:
    """Return the texts by kind: ``short``, ``long`` and ``mixed``."""
    generator = random.Random(20_240_331)  # noqa: S311 - texts, not secrets
    return {
        "short": [_text(generator, 3, 12) for _ in range(sizes.short)],
        "long": [_text(generator, 250, 400) for _ in range(sizes.long)],
        "mixed": [_mixed(generator, index) for index in range(sizes.mixed)],
    }


def long_text(tokens: int, count_tokens: Callable[[str], int]) -> str:
    """Return a text of as many whole words as so many tokens have room for.

    A model may take more tokens than that, and a tokenizer make several of a word.
    """
    words = _text(random.Random(8192), tokens, tokens).split()  # noqa: S311 - a text, not a secret
    fitting = bisect.bisect_right(
        range(len(words) + 1), tokens, key=lambda count: count_tokens(" ".join(words[:count]))
    )
    return " ".join(words[: fitting - 1])


def _mixed(generator: random.Random, index: int) -> str:
    # By index, not by chance: also a short list has texts of each length.
    least, most = {0: (250, 400), 3: (30, 80), 6: (30, 80), 8: (30, 80)}.get(index % 12, (1, 15))
    return _text(generator, least, most, others=0.1)


def _text(generator: random.Random, least: int, most: int, *, others: float = 0.0) -> str:
    count = generator.randint(least, most)
    return " ".join(generator.choice(_OTHERS if generator.random() < others else _WORDS) for _ in range(count))
