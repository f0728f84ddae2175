"""Compare what was attested with what a bundle says, value by value. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from thoth_models.bundle.hidden_characters import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thoth_models.bundle.canonical_json import Node

_SHOWN: Final = 100
"""Characters of a value that a message repeats."""


class Difference(NamedTuple):
    """A difference: the key path in the predicate, what the bundle says, and what was attested."""

    path: str
    expected: str
    found: str


def differences(expected: object, found: Node) -> Iterator[Difference]:
    """Yield each value of a JSON document that is not the expected one.

    Args:
        expected: The expected JSON value.
        found: The value that was attested.
    """
    value = found.value
    if isinstance(expected, dict) and isinstance(value, dict):
        for key in sorted({*expected, *value}):
            if key not in value:
                yield _difference(found, f"{key!r} with {shown(expected[key])}", "no such key")
            elif key not in expected:
                yield _difference(found[key], "no such key", shown(value[key]))
            else:
                yield from differences(expected[key], found[key])
    elif isinstance(expected, list) and isinstance(value, list) and len(expected) == len(value):
        for one, item in zip(expected, found.items(), strict=True):
            yield from differences(one, item)
    # A bool is equal to an int in Python, and not in JSON.
    elif type(expected) is not type(value) or expected != value:
        yield _difference(found, shown(expected), shown(value))


def _difference(found: Node, expected: str, instead: str) -> Difference:
    return Difference(escaped(found.path), expected, instead)


def shown(value: object) -> str:
    """Return a JSON value for a message."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return escaped(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
