"""What counts as a text, and as several of them: one rule for every way in. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from thoth_models.errors import InvalidInputError

MAX_CHARACTERS = 2**18
"""Characters of a text, and of a prompt: 262,144, about 150 pages.

Tokenizers read the whole of a text, also if the model takes only its first tokens. Per character they took at most 440
bytes (WordPiece, of text that is half punctuation) and 630 (byte-level BPE, of emoji alone); prose takes 100. So one
text of this length takes up to 170 MB for a moment. No model of today takes as many tokens as it has: 32,768 tokens
are 130,000 characters of English. Texts that a tokenizer reads at once have this length together."""


def expect_texts(name: str, texts: object) -> list[str]:
    """Return one text, or any iterable of texts, as a list of plain str.

    Args:
        name: Name of the argument, for messages.
        texts: The argument.

    Raises:
        InvalidInputError: The argument is neither, or :func:`expect_text` refuses a text; the message has its index.
    """
    if isinstance(texts, str):
        return [expect_text(name, texts)]
    items = expect_items(name, "a str or an iterable of str", texts)
    return [expect_text(f"{name}[{index}]", text) for index, text in enumerate(items)]


def expect_items(name: str, expected: str, value: object) -> Iterable[object]:
    """Return ``value`` if iterating over it gives items in an order that a caller can rely on.

    Args:
        name: Name of the argument, for the message.
        expected: What is expected, for the message.
        value: The argument.

    Raises:
        InvalidInputError: ``value`` is not iterable; or it is a str, bytes, a mapping, a set, or a table such as a
            DataFrame, whose iteration gives characters, numbers, keys, items in any order, or the names of columns.
    """
    dimensions = _dimensions(value)
    if dimensions != 1:
        raise InvalidInputError(f"{name}: expected {expected}, found {type(value).__name__} of {dimensions} dimensions")
    if isinstance(value, (str, bytes, bytearray, Mapping, set, frozenset)) or not isinstance(value, Iterable):
        raise InvalidInputError(f"{name}: expected {expected}, found {type(value).__name__}")
    return value


def expect_text(place: str, text: object) -> str:
    """Return a text as a plain str.

    Args:
        place: Name of the argument, with the index in a list, for the message.
        text: The text.

    Raises:
        InvalidInputError: It is not a str, has more than :data:`MAX_CHARACTERS` characters, or has a lone surrogate.
    """
    if not isinstance(text, str):
        raise InvalidInputError(f"{place}: expected a str, found {type(text).__name__}")
    if len(text) > MAX_CHARACTERS:
        raise InvalidInputError(
            f"{place}: expected at most {MAX_CHARACTERS:,} characters, found {len(text):,}; "
            "divide the text, as models read only the first part of a long one"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # tokenizers needs UTF-8, and would raise a TypeError.
        raise InvalidInputError(f"{place}: expected Unicode text, found a lone surrogate at {error.start}") from error
    # Converts subclasses such as numpy's to a plain str. Not str(), which returns the name of a StrEnum's member.
    return str.__str__(text)


def _dimensions(value: object) -> object:
    """Return the number of dimensions that an array or a table states; 1 for anything else."""
    shape = getattr(value, "shape", None)  # tables of pyarrow and polars have no ndim
    return getattr(value, "ndim", len(shape) if isinstance(shape, tuple) else 1)
