"""The licence that a model card states, in the YAML block at the top of README.md."""

from __future__ import annotations

import yaml

_FENCE = b"---"
_LONGEST_LICENSE = 200  # characters; real ones are names such as apache-2.0

LARGEST_CARD = 1024 * 1024
"""Bytes of a model card that are looked at."""


def license_of(card: bytes) -> str | None:
    """Return the ``license`` of a model card, or None where it states none that can be read."""
    lines = card[:LARGEST_CARD].replace(b"\r\n", b"\n").split(b"\n")
    if lines[0].strip() != _FENCE or _FENCE not in (stripped := [line.strip() for line in lines[1:]]):
        return None
    try:
        metadata = yaml.safe_load(b"\n".join(lines[1 : stripped.index(_FENCE) + 1]))
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError, OverflowError):
        # The last three are PyYAML's answer to a tag that does not fit its value, and to an impossible escape.
        return None
    return plain_license(metadata.get("license") if isinstance(metadata, dict) else None)


def plain_license(stated: object) -> str | None:
    """Return a licence as it was stated if it is one line of plain text, else None."""
    return stated if isinstance(stated, str) and stated.isprintable() and len(stated) <= _LONGEST_LICENSE else None
