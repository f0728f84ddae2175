"""Render what a change of models.yaml means for services, as Markdown for a pull request. Pure.

The input is untrusted: the JSON document of ``thoth-bundle diff`` was written by code of the pull request. It is read
with bounds, and every text in it is shown as code, with all special characters of Markdown and HTML as entities. Only
the standard library and this project are imported, so that the job that posts the report installs nothing else.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from thoth_models.bundle.canonical_json import FormatError, Node, parse_json
from thoth_models_builder.errors import UsageError
from thoth_models_builder.reports.bundle_diff import MEANINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MARKER = "<!-- thoth-models: what this changes in the bundle -->"
"""First line of every report; it identifies the comment to update."""

MAX_DOCUMENT_SIZE = 1024 * 1024
"""Largest document, in bytes."""

MAX_REPORT_LENGTH = 60_000
"""Longest report, in characters; GitHub accepts 65,536."""

_MAX_ROWS = 60
_MAX_TEXT_LENGTH = 120
_MAX_ENTRIES = 10_000
_PLAIN = frozenset(string.ascii_letters + string.digits + " -./,:")
_STATES = {
    "kept": "kept",
    "changed": "**fetched again**",
    "new": "**fetched**",
}
_REINDEX = ("new space", "removed")


def render(data: bytes, *, commit: str | None = None) -> str:
    """Return the report for the output of ``thoth-bundle diff --json``.

    Args:
        data: The output, untrusted.
        commit: Commit to name in the last line, or None.

    Raises:
        UsageError: The document is malformed; the message says where and why.
    """
    try:
        return _whole(_blocks(_parse(data)), commit)
    except FormatError as error:
        raise UsageError(str(error)) from error


_UNAVAILABLE = {
    "before": "The bundle of the base could not be built, so there is nothing to compare with. The log of the run says "
    "why.",
    "after": "The bundle could not be built. The log of the run says why.",
}


# --- the blocks ---


def _blocks(document: Node) -> list[str]:
    if "unavailable" in document:
        return [_UNAVAILABLE[document["unavailable"].one_of("before", "after")]]
    if not document["ok"].boolean():
        raise FormatError("ok: expected true, found false: the comparison itself failed")
    blocks = [*_verdict(document), *_models(document), *_names(document)]
    if "layers" in document:
        blocks += _layers(document["layers"])
    return blocks


def _whole(blocks: Sequence[str], commit: str | None) -> str:
    end = "" if commit is None else f"\n<sub>Of commit {_code(commit)}.</sub>\n"
    head = f"{MARKER}\n### What this changes in the bundle\n"
    space = MAX_REPORT_LENGTH - len(head) - len(end) - len(_CUT)
    kept, length = [], 0
    for block in blocks:
        length += len(block) + 2
        if length > space:
            kept.append(_CUT)
            break
        kept.append(block)
    return "\n\n".join([head.rstrip("\n"), *kept]) + "\n" + end


_CUT = "More would not fit into a comment; `thoth-bundle diff` shows all of it."


def _verdict(document: Node) -> Iterator[str]:
    lost = [
        _code(name)
        for part, key in (("models", "name"), ("names", "name"))
        for item in _items(document[part])
        if item["verdict"].one_of(*MEANINGS) in _REINDEX
        for name in [item[key].optional_text() or "the default"]
    ]
    if document["needs_reindex"].boolean() != bool(lost):
        raise FormatError("needs_reindex: expected what the verdicts say, found the opposite")
    if lost:
        yield (
            f"**Vectors that were indexed under {_listed(lost)} do not fit what answers now.** "
            "Index again before this is rolled out."
        )
    else:
        yield "No index has to be made again."
    for change in _items(document["changes"]):
        yield f"The bundle's {_change(change)}."


def _models(document: Node) -> Iterator[str]:
    rows, details = [], []
    for model in _items(document["models"]):
        name, verdict = _code(model["name"].text()), model["verdict"].one_of(*MEANINGS)
        files = {kind: _items(model[kind]) for kind in ("added", "removed", "changed")}
        changes = [_change(change) for change in _items(model["changes"])]
        size = model["bytes"].integer(minimum=0)
        is_same = verdict == "same vectors" and not any(files.values()) and not changes
        counts = ", ".join(f"{len(paths)} {kind}" for kind, paths in files.items() if paths) or "the same"
        if not is_same:
            rows.append(f"| {name} | {verdict}: {MEANINGS[verdict]} | {counts} | {_bytes(size)} |")
            details += [f"- {name}: {change}" for change in changes]
    if not rows:
        yield "Every model is the same as before."
        return
    yield "\n".join(
        ["| model | its vectors | files | new bytes |", "|---|---|---|---:|", *_bounded(rows, "| {} more | | | |")]
    )
    if details:
        yield "\n".join(_bounded(details, "- and {} more"))


def _names(document: Node) -> Iterator[str]:
    rows = []
    for name in _items(document["names"]):
        called = name["name"].optional_text()
        verdict = name["verdict"].one_of(*MEANINGS)
        places = [name[side].optional_text() for side in ("before", "after")]
        before, after = ("no model" if place is None else _code(place) for place in places)
        rows.append(f"| {'the default' if called is None else _code(called)} | {before} | {after} | {verdict} |")
    if rows:
        yield "\n".join(
            ["| name | answered by | now by | |", "|---|---|---|---|", *_bounded(rows, "| {} more | | | |")]
        )


def _layers(layers: Node) -> Iterator[str]:
    yield "### What a service pulls again"
    for image in _items(layers):
        rows = []
        for layer in _items(image["layers"]):
            state, size = layer["state"].one_of(*_STATES), layer["size"].integer(minimum=0)
            digest = _code(layer["digest"].text()[:12])
            rows.append(f"| {_code(layer['name'].text())} | {_bytes(size)} | {_STATES[state]} | {digest} |")
        total, pulled = (image[key].integer(minimum=0) for key in ("bytes", "pulled"))
        platforms = _listed([_code(platform.text()) for platform in _items(image["platforms"])])
        lines = [f"For {platforms}: **{_bytes(pulled)}** of {_bytes(total)}."]
        yield " ".join(lines)
        gone = [_code(name.text()) for name in _items(image["gone"])]
        table = ["| layer | bytes | | sha256 |", "|---|---:|---|---|", *_bounded(rows, "| {} more | | | |")]
        yield "\n".join(table)
        if gone:
            yield f"No longer needed: {_listed(gone)}."


def _change(change: Node) -> str:
    what, before, after = (_code(change[key].text()) for key in ("what", "before", "after"))
    return f"{what} was {before} and is {after}"


def _bounded(rows: Sequence[str], rest: str) -> list[str]:
    if len(rows) <= _MAX_ROWS:
        return list(rows)
    return [*rows[:_MAX_ROWS], rest.format(f"{len(rows) - _MAX_ROWS:,}")]


def _listed(parts: Sequence[str]) -> str:
    kept = list(parts[:_MAX_ROWS])
    return ", ".join(kept) + (f" and {len(parts) - len(kept):,} more" if len(parts) > len(kept) else "")


def _bytes(size: int) -> str:
    return f"{size:,} B"


def _code(text: str) -> str:
    """Return untrusted text as a code element, in which nothing becomes a mention, a link or a reference."""
    shown = text if len(text) <= _MAX_TEXT_LENGTH else f"{text[:_MAX_TEXT_LENGTH]}…"
    spelled = (
        character if character in _PLAIN else f"&#{ord(character)};" if character.isprintable() else "&#65533;"
        for character in shown
    )
    return f"<code>{''.join(spelled)}</code>"


# --- reading ---


def _parse(data: bytes) -> Node:
    if len(data) > MAX_DOCUMENT_SIZE:
        raise FormatError(f"the document: expected at most {MAX_DOCUMENT_SIZE} bytes, found {len(data)}")
    try:
        return parse_json(data)
    except FormatError as error:
        raise FormatError(f"the document: {error}") from error


def _items(node: Node) -> list[Node]:
    return node.items(maximum=_MAX_ENTRIES)
