"""Read the licence of a model from its model card, the YAML block at the top of README.md.

A card that states ``other`` may have the name of the licence beside it, and a link to its text
(https://huggingface.co/docs/hub/model-cards).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
)

from thoth_models_builder.spec.licences.names import OTHER, with_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_FENCE = b"---"
_MAX_LICENSE_LENGTH = 200  # characters; real ones are names such as apache-2.0

MAX_CARD_SIZE = 1024 * 1024
"""Bytes of a model card that are read."""

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MOST_EVENTS: Final = 500_000
"""Of the parser; cards with results of hundreds of evaluations have 50,000. Seconds, where libyaml is missing."""
_MOST_DEPTH: Final = 64
_STRING: Final = "tag:yaml.org,2002:str"
_KEYS: Final = ("license", "license_name", "license_link")
_LINK: Final = re.compile(
    r"https?://[a-z0-9.:-]+(/[\w.~!$&'()*+,;=:@%/?#-]*)?|[\w-][\w.-]*(/[\w-][\w.-]*)*", re.ASCII | re.IGNORECASE
)
"""An address without a user, or the path of a file beside the card. Of it, nothing is fetched."""
_MAX_LINK_LENGTH: Final = 500


class StatedLicense(NamedTuple):
    """What a model card states.

    Attributes:
        text: The licence, with the name that ``other`` has beside it in parentheses; None if it is not stated readably.
        link: Where the text of such a licence is: an address, or a path in the repository. Else None.
    """

    text: str | None
    link: str | None


def license_of(card: bytes) -> StatedLicense:
    """Return the licence that a model card states."""
    lines = card[:MAX_CARD_SIZE].replace(b"\r\n", b"\n").split(b"\n")
    if lines[0].strip() != _FENCE or _FENCE not in (stripped := [line.strip() for line in lines[1:]]):
        return StatedLicense(None, None)
    try:
        texts = _texts_at(_KEYS, b"\n".join(lines[1 : stripped.index(_FENCE) + 1]).decode())
    except (yaml.YAMLError, UnicodeDecodeError, ValueError):
        # PyYAML raises the last one for an impossible escape.
        return StatedLicense(None, None)
    return stated_license(texts.get)


def stated_license(get: Callable[[str], object]) -> StatedLicense:
    """Return the licence that the data of a model card states, given what returns the value of a key or None."""
    text, name, link = (get(key) for key in _KEYS)
    if not _is_plain(text):
        return StatedLicense(None, None)
    if text.strip().casefold() != OTHER:
        return StatedLicense(text, None)
    return StatedLicense(with_name(text, name if _is_plain(name) else ""), link if _is_link(link) else None)


def _texts_at(keys: Collection[str], document: str) -> dict[str, str | None]:
    """Return the strings at some keys of a YAML document, or None; of a key that is there twice, the last one.

    Only the events of the parser are read, whose number grows with the length of the document. The values that they
    describe need not: six hundred bytes of merge keys describe gigabytes.

    Raises:
        yaml.YAMLError: It is not YAML.
    """
    depth, is_key, name = 0, True, None
    found: dict[str, str | None] = {}
    for number, event in enumerate(yaml.parse(document, _LOADER)):
        if isinstance(event, CollectionEndEvent):
            depth -= 1
        elif isinstance(event, ScalarEvent | AliasEvent | CollectionStartEvent):
            if depth == 0 and not isinstance(event, MappingStartEvent):
                return {}
            if depth == 1 and is_key:
                name = event.value if isinstance(event, ScalarEvent) else None
            elif depth == 1 and name is not None and name in keys:
                found[name] = _string(event)
            is_key = is_key != (depth == 1)
            depth += isinstance(event, CollectionStartEvent)
        if depth > _MOST_DEPTH or number > _MOST_EVENTS:
            return {}
    return found


def _string(event: Event) -> str | None:
    """Return the value of a scalar that YAML reads as a string."""
    if not isinstance(event, ScalarEvent):
        return None
    resolver: Any = yaml.resolver.Resolver()  # it has no types
    tag = event.tag or resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
    return str(event.value) if tag == _STRING else None


def _is_plain(stated: object) -> TypeGuard[str]:
    """Return whether a stated licence is one line of plain text."""
    return isinstance(stated, str) and stated.isprintable() and len(stated) <= _MAX_LICENSE_LENGTH


def _is_link(stated: object) -> TypeGuard[str]:
    """Return whether a stated link has one of the forms that are kept."""
    return isinstance(stated, str) and len(stated) <= _MAX_LINK_LENGTH and _LINK.fullmatch(stated) is not None
