"""Canonical JSON, and a reader of JSON whose errors name the key path.

Canonical means: sorted keys, no spaces, UTF-8, no floats, one newline at the end. One value has one spelling, so the
digest of the bytes identifies the value. Used by the manifest here and by the lock of the builder.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TypeVar

from thoth_models.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_TYPE_NAMES = {
    dict: "a table",
    list: "a list",
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
}
_SHOWN = 80  # characters of a wrong value that a message repeats


class FormatError(Exception):
    """A document is not what it should be; the message names key path, what was expected and what was found."""


def canonical_json(value: object) -> bytes:
    """Return the one spelling of ``value``; a float, which no document of ours holds, is spelled as Python does."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def parse_json(data: bytes) -> Node:
    """Parse ``data`` and return its root.

    Raises:
        FormatError: It is not UTF-8 or not JSON, an object has a key twice, or a number is not an integer.
    """
    try:
        text = data.decode()
        value = json.loads(
            text, object_pairs_hook=_unique_keys, parse_float=_refuse_number, parse_constant=_refuse_number
        )
        # A lone surrogate can be written as an escape, but has no UTF-8, so it could never be written back.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise FormatError(f"expected JSON in UTF-8, found something else ({error})") from error
    return Node(value, "")


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        keys = [key for key, _ in pairs]
        raise FormatError(f"expected each key once, found {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return table


def _refuse_number(text: str) -> NoReturn:
    raise FormatError(f"expected integers only, found {text[:_SHOWN]}")


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a document, with the key path that leads to it.

    Attributes:
        value: The value.
        path: The key path, for messages.
        key: The key as it is spelled in the document; only for nodes from :meth:`entries`.
    """

    value: object
    path: str
    key: str = ""

    def key_node(self) -> Node:
        """Return the key of this node as a node of its own, so that it can be checked like a value."""
        return Node(self.key, f"{self.path} (the key)")

    def wrong(self, expected: str, *, found: str | None = None) -> FormatError:
        """Return the error to raise: what was expected here, and what was found (by default the value)."""
        if found is None:
            text = json.dumps(self.value, ensure_ascii=False)
            found = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
        return FormatError(f"{self.path or 'the document'}: expected {expected}, found {found}")

    def _typed(self, kind: type[T]) -> T:
        # bool is an int to isinstance, never to a reader of a format.
        if type(self.value) is not kind:
            found = "nothing (null)" if self.value is None else _TYPE_NAMES.get(type(self.value), "something else")
            raise self.wrong(_TYPE_NAMES[kind], found=found)
        return self.value

    def table(self, *required: str, optional: tuple[str, ...] = ()) -> dict[str, Node]:
        """Return the values of a table by key; all of ``required`` are there, and no key is unknown."""
        table = self._typed(dict)
        for key in required:
            if key not in table:
                raise self.wrong(
                    f"the key {key!r}", found=f"only {', '.join(map(repr, sorted(table))) or 'an empty table'}"
                )
        for key in table:
            if key not in required and key not in optional:
                raise self.wrong(f"only the keys {', '.join(map(repr, (*required, *optional)))}", found=repr(key))
        return {key: Node(value, f"{self.path}.{key}" if self.path else key) for key, value in table.items()}

    def entries(self) -> list[Node]:
        """Return the values of a table whose keys are data; :attr:`key` tells each key."""
        table: dict[str, object] = self._typed(dict)
        return [Node(value, f"{self.path}[{json.dumps(key, ensure_ascii=False)}]", key) for key, value in table.items()]

    def items(self) -> list[Node]:
        """Return the values of a list."""
        return [Node(value, f"{self.path}[{index}]") for index, value in enumerate(self._typed(list))]

    def sorted_unique(self, read: Callable[[Node], str]) -> tuple[str, ...]:
        """Return the strings of a list that must be sorted and hold nothing twice."""
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
        """Return a string that fully matches ``pattern``; ``meaning`` says in words what that is."""
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


# The last range is what a name that is not UTF-8 has in it when it comes from the file system.
_UNSAFE_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
_LONGEST_PATH = 1024  # bytes; below the limits of every file system that a bundle is unpacked on
_LONGEST_PART = 255


def safe_path(node: Node) -> str:
    """Return a relative path that stays below where it is joined, and that ``sha256sum`` prints as it is.

    Raises:
        FormatError: It is absolute, has an empty, ``.`` or ``..`` part, a backslash or a control character, or is too
            long for a file system.
    """
    path = node.text()
    parts = path.split("/")
    if (
        _UNSAFE_CHARACTERS.search(path)
        or any(part in ("", ".", "..") or len(part.encode()) > _LONGEST_PART for part in parts)
        or len(path.encode()) > _LONGEST_PATH
    ):
        raise node.wrong("a relative path with / between its parts, without `.`, `..`, backslash or control character")
    return path
