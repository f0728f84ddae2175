"""Check the lists of licences in a models.yaml: each entry is one licence, there once, and no misspelt id. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from thoth_models_builder.errors import Finding
from thoth_models_builder.spec.licences.names import (
    MAX_NAME_LENGTH,
    UNSTATED,
    Term,
    is_exception,
    licence_of,
    similar_ids,
)
from thoth_models_builder.spec.yaml_document import YamlDocument, key_path_text

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LICENCES: Final = 500
"""Entries of a list, of which each unknown one is compared with all ids of SPDX."""


def check_lists(document: YamlDocument) -> Iterator[Finding]:
    """Yield a finding for each entry that is not a licence, is misspelt, or is there already."""
    places: dict[str, tuple[str, int]] = {}
    for key in ("allow", "deny"):
        for index, text in _entries(document.value, key):
            wrong, found = _wrong(text), _known(text)
            first = places.setdefault(found, (key, index))
            if wrong is None and first != (key, index):
                line = document.line(("licences", *first))
                wrong = f"a licence that is listed once, found {text!r}, which `{first[0]}` has in line {line}"
            if wrong is not None:
                path = ("licences", key, index)
                yield Finding(line=document.line(path), path=key_path_text(path), message=f"expected {wrong}")


def listed(text: str) -> Term | None:
    """Return the licence that an entry of a list stands for; None for an entry that is not one licence."""
    licence = licence_of(text)
    return None if licence is None else licence.term


def _entries(value: object, key: str) -> list[tuple[int, str]]:
    for step in ("licences", key):
        value = value.get(step) if isinstance(value, dict) else None
    entries = value if isinstance(value, list) and len(value) <= MAX_LICENCES else []
    return [(index, entry) for index, entry in enumerate(entries) if isinstance(entry, str)]


def _known(text: str) -> str:
    term = listed(text)
    return text if term is None else str(term).casefold()


def _wrong(text: str) -> str | None:
    """Return what was expected in place of an entry, and what was found, or None if it is one licence."""
    if not text.isprintable() or len(text) > MAX_NAME_LENGTH:
        return f"printable text of at most {MAX_NAME_LENGTH} characters, found {text!r:.100}"
    if text.strip().casefold() in UNSTATED:
        return f"a licence, found {text!r}, which states none; `unstated` says what to do then"
    if is_exception(text):
        return f"a licence, found {text!r}, which is an exception; write it after a licence and `WITH`"
    if listed(text) is None:
        return f"one licence, found {text!r}, which are several; list those that are meant, each as an entry"
    if similar := similar_ids(text):
        meant = f"{', '.join(similar)}; or write LicenseRef-… before a name that a publisher really states"
        return f"an SPDX id, found {text!r}, which is similar to {meant}"
    return None
