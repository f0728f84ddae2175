"""Read the licence of a model from its model card, the YAML block at the top of README.md."""

from __future__ import annotations

import yaml

_FENCE = b"---"
_MAX_LICENSE_LENGTH = 200  # characters; real ones are names such as apache-2.0

MAX_CARD_SIZE = 1024 * 1024
"""Bytes of a model card that are read."""


def license_of(card: bytes) -> str | None:
    """Return the ``license`` of a model card, or None if it does not state a readable one."""
    lines = card[:MAX_CARD_SIZE].replace(b"\r\n", b"\n").split(b"\n")
    if lines[0].strip() != _FENCE or _FENCE not in (stripped := [line.strip() for line in lines[1:]]):
        return None
    try:
        metadata = yaml.safe_load(b"\n".join(lines[1 : stripped.index(_FENCE) + 1]))
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError, OverflowError):
        # PyYAML raises the last three for a tag that does not fit its value, and for an impossible escape.
        return None
    return plain_license(metadata.get("license") if isinstance(metadata, dict) else None)


def plain_license(stated: object) -> str | None:
    """Return a stated licence if it is one line of plain text, else None."""
    return stated if isinstance(stated, str) and stated.isprintable() and len(stated) <= _MAX_LICENSE_LENGTH else None
