"""What a change of the list means for services, as Markdown for a pull request. Pure.

What it is made of comes from whoever opened the pull request: the JSON document of ``thoth-bundle diff`` was written by
their code. So the document is read with bounds, and is data and nothing else: every text of it is shown as code, with
all marks of Markdown and HTML spelled as entities. Nothing outside of the standard library and of this project is
imported, so that whoever posts the report need not install anything first.
"""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from thoth_models_builder.diff import MEANINGS
from thoth_models_builder.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

_Text = TypeVar("_Text", bound=str)

MARKER = "<!-- thoth-models: what this changes in the bundle -->"
"""The first line of every report, by which the comment is found again."""

LARGEST_DOCUMENT = 1024 * 1024
"""Bytes of a document that are read at most."""

LARGEST_REPORT = 60_000
"""Characters of a report; GitHub takes 65,536."""

_MOST_ROWS = 60
_LONGEST_TEXT = 120
_MOST_ENTRIES = 10_000
_PLAIN = frozenset(string.ascii_letters + string.digits + " -./,:")
_STATES = {
    "kept": "kept",
    "moved": "kept; fetched again where layers are known by their place",
    "changed": "**fetched again**",
    "new": "**fetched**",
}
_REINDEX = ("new space", "removed")


def render(data: bytes, *, commit: str | None = None) -> str:
    """Return the report of a document that ``thoth-bundle diff --json`` printed.

    Args:
        data: The document; nothing is taken for granted about it.
        commit: The commit that it is about, which goes into the last line.

    Raises:
        UsageError: It is not such a document; the message says where and why.
    """
    document = _Value(_parse(data), "the document")
    if "unavailable" in document.table():
        which = document["unavailable"].one_of(("before", "after"))
        return _whole([_UNAVAILABLE[which]], commit)
    if not document["ok"].boolean():
        raise UsageError("ok: expected true, found false: the comparison itself failed")
    blocks = [*_verdict(document), *_models(document), *_names(document)]
    if "layers" in document.table():
        blocks += _layers(document["layers"])
    return _whole(blocks, commit)


_UNAVAILABLE = {
    "before": "The bundle of the base could not be built, so there is nothing to compare with. The log of the run says "
    "why.",
    "after": "The bundle could not be built. The log of the run says why.",
}


# --- the blocks ---


def _whole(blocks: Sequence[str], commit: str | None) -> str:
    end = "" if commit is None else f"\n<sub>Of commit {_code(commit)}.</sub>\n"
    head = f"{MARKER}\n### What this changes in the bundle\n"
    room = LARGEST_REPORT - len(head) - len(end) - len(_CUT)
    kept, length = [], 0
    for block in blocks:
        length += len(block) + 2
        if length > room:
            kept.append(_CUT)
            break
        kept.append(block)
    return "\n\n".join([head.rstrip("\n"), *kept]) + "\n" + end


_CUT = "More would not fit into a comment; `thoth-bundle diff` shows all of it."


def _verdict(document: _Value) -> Iterator[str]:
    lost = [
        _code(name)
        for part, key in (("models", "name"), ("names", "name"))
        for item in document[part].items()
        if item["verdict"].one_of(MEANINGS) in _REINDEX
        for name in [item[key].optional_text() or "the default"]
    ]
    if document["needs_reindex"].boolean() != bool(lost):
        raise UsageError("needs_reindex: expected what the verdicts say, found the opposite")
    if lost:
        yield (
            f"**Vectors that were indexed under {_listed(lost)} do not fit what answers now.** "
            "Index again before this is rolled out."
        )
    else:
        yield "No index has to be made again."
    for change in document["changes"].items():
        yield f"The bundle's {_change(change)}."


def _models(document: _Value) -> Iterator[str]:
    rows, details = [], []
    for model in document["models"].items():
        name, verdict = _code(model["name"].text()), model["verdict"].one_of(MEANINGS)
        files = {kind: model[kind].items() for kind in ("added", "removed", "changed")}
        changes = [_change(change) for change in model["changes"].items()]
        size = model["bytes"].integer()
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


def _names(document: _Value) -> Iterator[str]:
    rows = []
    for name in document["names"].items():
        called = name["name"].optional_text()
        verdict = name["verdict"].one_of(MEANINGS)
        places = [name[side].optional_text() for side in ("before", "after")]
        before, after = ("nobody" if place is None else _code(place) for place in places)
        rows.append(f"| {'the default' if called is None else _code(called)} | {before} | {after} | {verdict} |")
    if rows:
        yield "\n".join(
            ["| name | answered by | now by | |", "|---|---|---|---|", *_bounded(rows, "| {} more | | | |")]
        )


def _layers(layers: _Value) -> Iterator[str]:
    yield "### What a service pulls again"
    for image in layers.items():
        rows = []
        for layer in image["layers"].items():
            state, size = layer["state"].one_of(_STATES), layer["size"].integer()
            digest = _code(layer["digest"].text()[:12])
            rows.append(f"| {_code(layer['name'].text())} | {_bytes(size)} | {_STATES[state]} | {digest} |")
        total, pulled, by_place = (image[key].integer() for key in ("bytes", "pulled", "pulled_by_place"))
        platforms = _listed([_code(platform.text()) for platform in image["platforms"].items()])
        lines = [f"For {platforms}: **{_bytes(pulled)}** of {_bytes(total)}."]
        if by_place != pulled:
            lines.append(f"Where layers are known by their place, as by Docker's classic storage: {_bytes(by_place)}.")
        yield " ".join(lines)
        gone = [_code(name.text()) for name in image["gone"].items()]
        table = ["| layer | bytes | | sha256 |", "|---|---:|---|---|", *_bounded(rows, "| {} more | | | |")]
        yield "\n".join(table)
        if gone:
            yield f"No longer needed: {_listed(gone)}."


def _change(change: _Value) -> str:
    what, before, after = (_code(change[key].text()) for key in ("what", "before", "after"))
    return f"{what} was {before} and is {after}"


def _bounded(rows: Sequence[str], rest: str) -> list[str]:
    if len(rows) <= _MOST_ROWS:
        return list(rows)
    return [*rows[:_MOST_ROWS], rest.format(f"{len(rows) - _MOST_ROWS:,}")]


def _listed(parts: Sequence[str]) -> str:
    kept = list(parts[:_MOST_ROWS])
    return ", ".join(kept) + (f" and {len(parts) - len(kept):,} more" if len(parts) > len(kept) else "")


def _bytes(size: int) -> str:
    return f"{size:,} B"


def _code(text: str) -> str:
    """Return a text of somebody else as code: in a code element nothing becomes a mention, a link or a reference."""
    shown = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
    spelled = (
        character if character in _PLAIN else f"&#{ord(character)};" if character.isprintable() else "&#65533;"
        for character in shown
    )
    return f"<code>{''.join(spelled)}</code>"


# --- reading ---


def _parse(data: bytes) -> object:
    if len(data) > LARGEST_DOCUMENT:
        raise UsageError(f"the document: expected at most {LARGEST_DOCUMENT} bytes, found {len(data)}")
    try:
        # Numbers are bounded before they are made: a long one would take minutes.
        return json.loads(data, parse_int=_small_integer, parse_float=_no_float, parse_constant=_no_float)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the document: expected JSON, found: {error}") from error


def _small_integer(text: str) -> int:
    if len(text) > len(str(2**63)):
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _no_float(text: str) -> float:
    raise ValueError(f"the number {text[:20]}, where only integers belong")


@dataclass(frozen=True, slots=True)
class _Value:
    """A value of the document, and where it stands."""

    value: object
    place: str

    def __getitem__(self, key: str) -> _Value:
        table = self.table()
        if key not in table:
            raise self._wrong(f"the key {key!r}", f"{len(table)} others")
        return _Value(table[key], f"{self.place}.{key}")

    def table(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise self._wrong("a table")
        return self.value

    def items(self) -> list[_Value]:
        if not isinstance(self.value, list):
            raise self._wrong("a list")
        values = cast("list[object]", self.value)
        if len(values) > _MOST_ENTRIES:
            raise self._wrong(f"at most {_MOST_ENTRIES} entries", str(len(values)))
        return [_Value(value, f"{self.place}[{index}]") for index, value in enumerate(values)]

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self._wrong("text")
        return self.value

    def optional_text(self) -> str | None:
        return None if self.value is None else self.text()

    def integer(self) -> int:
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < 0:
            raise self._wrong("an integer of at least 0")
        return self.value

    def boolean(self) -> bool:
        if not isinstance(self.value, bool):
            raise self._wrong("true or false")
        return self.value

    def one_of(self, values: Collection[_Text]) -> _Text:
        for value in values:
            if self.value == value:
                return value
        raise self._wrong(f"one of {', '.join(values)}")

    def _wrong(self, expected: str, found: str | None = None) -> UsageError:
        return UsageError(f"{self.place}: expected {expected}, found {found or f'{self.value!r:.80}'}")
