"""Canonical JSON, and a reader of JSON whose errors name the key path.

Canonical means: sorted keys, no spaces, UTF-8, no floats, one newline at the end. A value has exactly one form, so the
digest of the bytes identifies the value. The manifest here and the builder's lock use it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TypeVar

from thoth_models.bundle.digest import Digest
from thoth_models.bundle.hidden_characters import HIDDEN, escaped

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

T = TypeVar("T")
_TYPE_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
}
_SHOWN = 80  # characters of a wrong value that a message repeats
_SHOWN_AT_MOST = 1000  # characters of a key path, or of a list of keys
_DIGITS = 20  # of an integer of 64 bits, with its sign
_INTEGERS = 2**63


class FormatError(Exception):
    """A document does not have the expected form; the message has key path, expected and found value."""


def canonical_json(value: object) -> bytes:
    """Return the canonical form of ``value``. Documents have no floats; one would be written as Python writes it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def parse_json(data: bytes) -> Node:
    """Parse ``data`` and return its root.

    Raises:
        FormatError: It is not UTF-8 or not JSON, an object has a key twice, or a number is not an integer of
            64 bits.
    """
    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=_unique_keys,
            parse_int=_short_integer,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
        # JSON can have a lone surrogate as an escape, but UTF-8 cannot, so it could not be written back.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise FormatError(f"expected JSON in UTF-8, found something else ({error})") from error
    return Node(value, "")


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise FormatError(f"expected each key once, found {_shortened(repr(key))} twice")
    return found


def _short_integer(text: str) -> int:
    """Return an integer that fits into 64 bits, as sizes, offsets and counts do everywhere else."""
    # The length first: the time to convert many digits grows with their square.
    if len(text) > _DIGITS or not -_INTEGERS <= (value := int(text)) < _INTEGERS:
        raise FormatError(f"expected integers of 64 bits, found {_shortened(text)}")
    return value


def _refuse_number(text: str) -> NoReturn:
    raise FormatError(f"expected integers only, found {_shortened(text)}")


def _shortened(text: str, most: int = _SHOWN) -> str:
    shown = escaped(text[:most])
    return shown if len(text) <= most else f"{shown}…"


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a document, with the key path that leads to it.

    Attributes:
        value: The value.
        path: The key path, for messages.
        key: The key as it is spelled in the document; only for nodes from :meth:`mapping`.
    """

    value: object
    path: str
    key: str = ""

    def key_node(self) -> Node:
        """Return the key of this node as a node of its own, so that it can be checked like a value."""
        return Node(self.key, f"{self.path} (the key)")

    def wrong(self, expected: str, *, found: str | None = None) -> FormatError:
        """Return the error to raise: what was expected at this path, and what was found (by default the value)."""
        if found is None:
            found = _shortened(json.dumps(self.value, ensure_ascii=False))
        place, found = (_shortened(text, _SHOWN_AT_MOST) for text in (self.path or "the document", found))
        return FormatError(f"{place}: expected {expected}, found {found}")

    def _typed(self, kind: type[T]) -> T:
        # isinstance accepts a bool as an int; a format must not.
        if type(self.value) is not kind:
            found = "nothing (null)" if self.value is None else _TYPE_NAMES.get(type(self.value), "something else")
            raise self.wrong(_TYPE_NAMES[kind], found=found)
        return self.value

    def members(self, *required: str, optional: tuple[str, ...] = ()) -> dict[str, Node]:
        """Return the members of an object by key; every ``required`` key is present, and no key is unknown."""
        found = self._typed(dict)
        for key in required:
            if key not in found:
                raise self.wrong(
                    f"the key {key!r}", found=f"only {', '.join(map(repr, sorted(found))) or 'an empty object'}"
                )
        for key in found:
            if key not in required and key not in optional:
                raise self.wrong(f"only the keys {', '.join(map(repr, (*required, *optional)))}", found=repr(key))
        return {key: Node(value, f"{self.path}.{key}" if self.path else key) for key, value in found.items()}

    def mapping(self) -> list[Node]:
        """Return the values of an object whose keys are data; :attr:`key` is the key of each."""
        found: dict[str, object] = self._typed(dict)
        return [Node(value, f"{self.path}[{json.dumps(key, ensure_ascii=False)}]", key) for key, value in found.items()]

    def texts(self) -> dict[str, str]:
        """Return an object whose keys are data and whose values are strings."""
        return {node.key: node.text() for node in self.mapping()}

    def __contains__(self, key: str) -> bool:
        """Return whether an object has a member of that key."""
        return key in self._typed(dict)

    def __getitem__(self, key: str) -> Node:
        """Return one member of an object that may have others."""
        found: dict[str, object] = self._typed(dict)
        if key not in found:
            raise self.wrong(f"the key {key!r}", found=f"{len(found)} others")
        return Node(found[key], f"{self.path}.{key}" if self.path else key)

    def items(self, *, maximum: int | None = None) -> list[Node]:
        """Return the values of a list, of which there are at most ``maximum``."""
        values: list[object] = self._typed(list)
        if maximum is not None and len(values) > maximum:
            raise self.wrong(f"at most {maximum} items", found=str(len(values)))
        return [Node(value, f"{self.path}[{index}]") for index, value in enumerate(values)]

    def sorted_unique(self, read: Callable[[Node], str]) -> tuple[str, ...]:
        """Return the strings of a list that must be sorted, without repetitions."""
        values = [read(item) for item in self.items()]
        if values != sorted(set(values)):
            raise self.wrong("a sorted list without repetitions")
        return tuple(values)

    def text(self) -> str:
        """Return a string."""
        return self._typed(str)

    def optional_text(self) -> str | None:
        """Return a string, or None for null."""
        return None if self.value is None else self._typed(str)

    def matching(self, pattern: re.Pattern[str], meaning: str) -> str:
        """Return a string that fully matches ``pattern``; ``meaning`` describes it for the error message."""
        text = self.text()
        if not pattern.fullmatch(text):
            raise self.wrong(meaning)
        return text

    def boolean(self) -> bool:
        """Return true or false."""
        return self._typed(bool)

    def integer(self, *, minimum: int) -> int:
        """Return an integer of at least ``minimum``."""
        value = self._typed(int)
        if value < minimum:
            raise self.wrong(f"an integer of at least {minimum}")
        return value

    def one_of(self, *allowed: T) -> T:
        """Return the value, which must be one of ``allowed``."""
        for choice in allowed:
            if type(self.value) is type(choice) and self.value == choice:
                return choice
        raise self.wrong(" or ".join(json.dumps(choice) for choice in allowed))

    def digest(self) -> Digest:
        """Return a sha256."""
        try:
            return Digest(self.text())
        except ValueError:
            raise self.wrong("a sha256 of 64 lower-case hexadecimal digits") from None


_MAX_PATH_LENGTH = 1024  # bytes; below the limits of every file system that a bundle is unpacked on
_MAX_PART_LENGTH = 255


def safe_path(node: Node) -> str:
    """Return a relative path that cannot leave the directory it is joined to, and that ``sha256sum`` prints unescaped.

    Raises:
        FormatError: The path is absolute, has an empty, ``.`` or ``..`` part, a backslash or a hidden character, or
            is too long for a file system.
    """
    path = node.text()
    parts = path.split("/")
    if (
        "\\" in path
        or HIDDEN.search(path)
        or any(part in ("", ".", "..") or len(part.encode()) > _MAX_PART_LENGTH for part in parts)
        or len(path.encode()) > _MAX_PATH_LENGTH
    ):
        raise node.wrong("a relative path with / between its parts, without `.`, `..`, backslash or hidden character")
    return path
