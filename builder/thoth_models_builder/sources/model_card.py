"""Read the licence of a model from its model card, the YAML block at the top of README.md."""

from __future__ import annotations

from typing import Any, Final

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
)

_FENCE = b"---"
_MAX_LICENSE_LENGTH = 200  # characters; real ones are names such as apache-2.0

MAX_CARD_SIZE = 1024 * 1024
"""Bytes of a model card that are read."""

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MOST_EVENTS: Final = 500_000
"""Of the parser; cards with results of hundreds of evaluations have 50,000. Seconds, where libyaml is missing."""
_MOST_DEPTH: Final = 64
_STRING: Final = "tag:yaml.org,2002:str"


def license_of(card: bytes) -> str | None:
    """Return the ``license`` of a model card, or None if it does not state a readable one."""
    lines = card[:MAX_CARD_SIZE].replace(b"\r\n", b"\n").split(b"\n")
    if lines[0].strip() != _FENCE or _FENCE not in (stripped := [line.strip() for line in lines[1:]]):
        return None
    try:
        return plain_license(_text_at("license", b"\n".join(lines[1 : stripped.index(_FENCE) + 1]).decode()))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError):
        # PyYAML raises the last one for an impossible escape.
        return None


def _text_at(key: str, document: str) -> str | None:
    """Return the string at a key of a YAML document, or None; of a key that is there twice, the last one.

    Only the events of the parser are read, whose number grows with the length of the document. The values that they
    describe need not: six hundred bytes of merge keys describe gigabytes.

    Raises:
        yaml.YAMLError: It is not YAML.
    """
    depth, is_key, name, found = 0, True, None, None
    for number, event in enumerate(yaml.parse(document, _LOADER)):
        if isinstance(event, CollectionEndEvent):
            depth -= 1
        elif isinstance(event, ScalarEvent | AliasEvent | CollectionStartEvent):
            if depth == 0 and not isinstance(event, MappingStartEvent):
                return None
            if depth == 1 and is_key:
                name = event.value if isinstance(event, ScalarEvent) else None
            elif depth == 1 and name == key:
                found = _string(event)
            is_key = is_key != (depth == 1)
            depth += isinstance(event, CollectionStartEvent)
        if depth > _MOST_DEPTH or number > _MOST_EVENTS:
            return None
    return found


def _string(event: Event) -> str | None:
    """Return the value of a scalar that YAML reads as a string."""
    if not isinstance(event, ScalarEvent):
        return None
    resolver: Any = yaml.resolver.Resolver()  # it has no types
    tag = event.tag or resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
    return str(event.value) if tag == _STRING else None


def plain_license(stated: object) -> str | None:
    """Return a stated licence if it is one line of plain text, else None."""
    return stated if isinstance(stated, str) and stated.isprintable() and len(stated) <= _MAX_LICENSE_LENGTH else None
