"""The texts for measuring variants: golden texts that are difficult, and a corpus of usual ones.

Pure and fixed: a change of the golden texts changes the golden vectors of every bundle, and a change of the corpus
changes what is measured. Golden texts are those for which implementations tend to differ. The corpus resembles the
texts that services index, so that its nearest neighbours are meaningful.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_USUAL: Final = (
    # Every load is checked with the first: case, accents, punctuation, digits and an identifier in one text.
    "Which Café in São Paulo opened before 1998, and what is its customer_id?",
    "The quick brown fox jumps over the lazy dog.",
    "A man is eating a piece of bread.",
    "How many orders did each customer place in the last three months?",
    "Total revenue by region, excluding cancelled invoices",
    "The river overflowed its banks after days of heavy rain.",
    "machine learning",
    "What is the capital of France?",
    "Paris is the capital and largest city of France.",
    "He said: \u201cI'll be there at 5 o'clock \u2014 don't wait!\u201d",
    "New York",
    "new york",
    "NEW YORK",
)
_IDENTIFIERS: Final = (
    "SELECT c.name, SUM(o.total) FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.name;",
    "customer_id",
    "CUST_ACCT_BAL_AMT",
    "orderLineItems",
    "schools.frpm.`Percent (%) Eligible Free (K-12)`",
    "tbl_2023_q4_sales_v2_final",
    "WHERE created_at >= '2024-01-01' AND status <> 'X'",
    "https://example.org/path?query=value&other=1#part",
    "user.name+tag@example.org",
    "/usr/local/lib/python3.11/site-packages",
    '{"key": [1, 2, {"nested": null}]}',
    "def encode(texts: list[str]) -> np.ndarray: ...",
)
_NUMBERS: Final = (
    "0",
    "3.14159265358979",
    "-1,234,567.89",
    "1e-10",
    "2024-02-29T23:59:60Z",
    "+49 (0)30 1234567",
    "42 42 42 42",
    "١٢٣٤٥",
    "½ ⅓ ⅛",
)
_SCRIPTS: Final = (
    "Die Züge fahren heute wegen Bauarbeiten nicht nach Köln.",
    "L'été dernier, nous avons visité la forêt et la rivière.",
    "¿Cuántos clientes hay en España?",
    "Quanti ordini ha fatto ogni cliente?",
    "Zażółć gęślą jaźń",
    "Сколько клиентов в Москве?",
    "Πόσοι πελάτες υπάρχουν;",
    "客户的订单总数是多少？",  # noqa: RUF001 - Chinese has its own question mark
    "お客様の注文はいくつありますか。",
    "고객 주문이 몇 개입니까?",
    "ลูกค้ามีกี่คน",
    "ग्राहक कितने हैं?",
    # From right to left, alone and mixed with left to right.
    "كم عدد العملاء في القاهرة؟",
    "כמה לקוחות יש בתל אביב?",
    "العمود customer_id في جدول orders",
)
_ODD: Final = (
    "",
    " ",
    "\n\t  \r\n",
    "a",
    "?",
    "é",
    "e\u0301",
    "🙂",
    "I ❤\ufe0f 🍕 and 👩\u200d👩\u200d👧 🇨🇭",
    "zero\u200bwidth\u00a0spaces\u2009here\ufeff",
    "[CLS] [SEP] [MASK] <s> </s> <pad>",
    "▁▁ ##ing @@ Ġword",
    "x" * 600,
    "!?!?!?!?....,,,,;;;;----____",
)

_WORDS: Final = ("river", "order", "music", "Paris", "customer", "winter", "bread", "engine", "yellow", "invoice")
_MAX_WORDS = 1500
"""Words of the longest golden text: longer than the maximum of most models, and than any number of tokens at which
attention in a graph takes another form. Where longer texts end is compared by their tokens; their vectors would take
half an hour to compute for a large model, in plain arithmetic, and minutes whenever they are checked."""
_PROMPTED = 4
"""How many usual texts are encoded again with each prompt of a model."""


def golden_texts(max_seq_length: int | None, prompts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return pairs of prompt and text: 64 without a prompt, and some of them again with each prompt of the model.

    Args:
        max_seq_length: Longest input of the model in tokens; the last text without a prompt is longer, unless that
            would be more than 1,500 words.
        prompts: Prompts of the model, by name.
    """
    count = min((max_seq_length or 600) + 50, _MAX_WORDS)
    longest = " ".join(itertools.islice(itertools.cycle(_WORDS), count))
    texts = [*_USUAL, *_IDENTIFIERS, *_NUMBERS, *_SCRIPTS, *_ODD, longest]
    kinds = sorted({prompt for prompt in prompts.values() if prompt})
    return [("", text) for text in texts] + [(prompt, text) for prompt in kinds for text in _USUAL[:_PROMPTED]]


_SUBJECTS: Final = (
    "customer", "order", "invoice", "school", "patient", "driver", "player", "album", "molecule", "account",
)  # fmt: skip
_PROPERTIES: Final = (
    "name", "total amount", "date of birth", "country code", "status", "postal address", "average score",
    "number of visits", "creation time", "unit price",
)  # fmt: skip
_FORMS: Final = (
    "{subject}_{column}",
    "{Subject}{Column}",
    "The {property} of a {subject}",
    "{subject}: {property}, updated daily",
    "What is the {property} of every {subject}?",
    "List each {subject} whose {property} is above the average.",
    "SELECT {column} FROM {subject}s WHERE {column} IS NOT NULL",
    "count of distinct {property} per {subject}",
    "Find the {subject} with the highest {property} in 2023",
    "ALTER TABLE {subject}s ADD COLUMN {column} TEXT",
)


def corpus() -> list[str]:
    """Return 500 different texts: names of columns, descriptions, questions and statements.

    Each subject meets each property in five of the ten forms, and every form is used as often.
    """
    return list(_corpus())


def _corpus() -> Iterator[str]:
    numbered = (enumerate(_SUBJECTS), enumerate(_PROPERTIES), enumerate(_FORMS))
    for (i, subject), (j, described), (k, form) in itertools.product(*numbered):
        if (i + j + k) % 2:
            continue
        column = described.replace(" ", "_")
        yield form.format(
            subject=subject,
            Subject=subject.capitalize(),
            property=described,
            column=column,
            Column=described.title().replace(" ", ""),
        )
