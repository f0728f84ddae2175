"""Add a model to the text of a models.yaml, or remove one: every other byte stays, comments and layout included. Pure.

Text is inserted or cut out; nothing is written from parsed data. PyYAML's marks give the positions. The result is
parsed, and must have exactly the models that were there, and the change: a layout that this module does not understand
gives an error, never a wrong file.

A comment belongs to the model that it stands directly above, at the column of the model's name, or within whose keys it
is indented. Every other comment stays where it is.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import yaml

from thoth_models_builder.errors import Finding, SpecError
from thoth_models_builder.spec.models_yaml import parse_spec
from thoth_models_builder.spec.new_model import block_entry, flow_entry
from thoth_models_builder.spec.yaml_document import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from thoth_models_builder.spec.models_yaml import ModelSpec

_BOM: Final = b"\xef\xbb\xbf"
_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What PyYAML takes for the end of a line."""

_STRUCTURE: Final = (
    yaml.StreamStartToken,
    yaml.StreamEndToken,
    yaml.DirectiveToken,
    yaml.DocumentStartToken,
    yaml.DocumentEndToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
    yaml.BlockEndToken,
    yaml.FlowEntryToken,
)
"""Tokens without content of their own; the place of a BlockEndToken is where the next content begins."""


def add_model(data: bytes, file: str, name: str, model: ModelSpec) -> bytes:
    """Return the bytes of a models.yaml with one more model, after all others.

    Args:
        data: The file; its ``models`` may be empty.
        file: Its name, for messages.
        name: Name of the model.
        model: A model with sources, variants, aliases and pooling.

    Raises:
        SpecError: The file has errors, also with the model in it, or its layout does not allow to insert one.
    """
    text = _Text(data, file)
    before = {} if text.is_empty else parse_spec(data, file).models
    if text.is_empty:
        after = text.with_first(name, model)
    elif text.is_flow:
        after = text.with_flow(name, model)
    else:
        after = text.with_block(name, model)
    return _checked(data, after, file, {**before, name: model})


def remove_model(data: bytes, file: str, name: str) -> bytes:
    """Return the bytes of a models.yaml without the model ``name``, which it must have.

    Raises:
        SpecError: The file has errors, also without the model, or its layout does not allow to cut it out.
    """
    models = parse_spec(data, file).models
    text = _Text(data, file)
    index = list(models).index(name)
    after = text.without_flow(index) if text.is_flow else text.without_block(index)
    return _checked(data, after, file, {key: model for key, model in models.items() if key != name})


def names_of(data: bytes, file: str) -> list[str]:
    """Return the names and aliases that the models of a specification have; its ``models`` may be empty.

    Raises:
        SpecError: The file has errors.
    """
    if _Text(data, file).is_empty:
        return []
    models = parse_spec(data, file).models
    return [*models, *(alias for model in models.values() for alias in model.aliases)]


def _checked(before: bytes, text: str, file: str, expected: Mapping[str, ModelSpec]) -> bytes:
    data = (_BOM if before.startswith(_BOM) else b"") + text.encode()
    found = parse_spec(data, f"{file}, as it would become").models
    if list(found.items()) != list(expected.items()):
        raise _error(file, None, "expected a layout that can be edited, found one that would change other models")
    return data


def _error(file: str, line: int | None, message: str) -> SpecError:
    return SpecError(file, [Finding(line=line, path="models", message=f"{message}; edit the file by hand")])


@dataclass(frozen=True, slots=True)
class _Entry:
    """A model: start of its name, end of what it consists of, both as positions in the text."""

    start: int
    end: int


class _Lines:
    """A text, line by line."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0, *(found.end() for found in _BREAK.finditer(text))]

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, line: int) -> str:
        return self.text[self.start(line) : self.start(line + 1)]

    def start(self, line: int) -> int:
        """Return the position at which a line begins; the end of the text for the line after the last."""
        return self._starts[line] if line < len(self._starts) else len(self.text)

    def of(self, position: int) -> int:
        """Return the line that a position is in."""
        return bisect.bisect_right(self._starts, position) - 1

    def before(self, position: int) -> str:
        """Return what stands before a position in its line."""
        return self.text[self.start(self.of(position)) : position]

    def is_blank(self, line: int) -> bool:
        return not self[line].strip()

    def comment_column(self, line: int) -> int | None:
        """Return the column of the comment in a line that has nothing else; None for other lines."""
        rest = self[line].lstrip(" \t")
        return len(self[line]) - len(rest) if rest.startswith("#") else None

    def end_of(self, line: int) -> str:
        """Return the line break of a line; that of the first line if it has none."""
        found = _BREAK.search(self[line]) or _BREAK.search(self.text)
        return found.group() if found else "\n"

    def has_end(self, line: int) -> bool:
        return _BREAK.search(self[line]) is not None

    def with_lines(self, line: int, lines: list[str]) -> str:
        """Return the text with ``lines`` after a line; a text without a line break at its end stays without."""
        end, position = self.end_of(line), self.start(line + 1)
        inserted = "".join(f"{new}{end}" for new in lines)
        if not self.has_end(line):
            inserted = end + inserted.removesuffix(end)
        return self.text[:position] + inserted + self.text[position:]


class _Text:
    """The text of a models.yaml, and where its models are."""

    def __init__(self, data: bytes, file: str) -> None:
        value = parse_yaml(data, file).value  # with all limits on size and depth
        self._file = file
        self._text = data.decode("utf-8-sig")
        self._lines = _Lines(self._text)
        if not isinstance(value, dict) or "models" not in value:
            raise SpecError(file, [Finding(line=None, path="models", message="expected this key, found nothing")])
        root = yaml.compose(self._text, yaml.SafeLoader)
        pairs: list[tuple[yaml.Node, yaml.Node]] = [] if root is None else root.value
        keys = [(key, node) for key, node in pairs if isinstance(key, yaml.ScalarNode)]
        index = next(index for index, (key, _) in enumerate(keys) if key.value == "models")
        self._key, self._models = keys[index]
        if self._models.start_mark.index < self._key.end_mark.index:
            self._refuse(self._key, "expected the models below the key, found an alias")
        self._end = keys[index + 1][0].start_mark.index if index + 1 < len(keys) else len(self._text)
        self._is_root_flow = isinstance(root, yaml.MappingNode) and bool(root.flow_style)
        self.is_empty = value["models"] in (None, {})
        self.is_flow = isinstance(self._models, yaml.MappingNode) and bool(self._models.flow_style)
        # Start and end of each token with content, in order: they are what a model consists of.
        self._tokens: list[tuple[int, int]] = sorted(
            (token.start_mark.index, token.end_mark.index)
            for token in yaml.scan(self._text, yaml.SafeLoader)
            if not isinstance(token, _STRUCTURE)
        )
        pairs = self._models.value if isinstance(self._models, yaml.MappingNode) else []
        starts = [key.start_mark.index for key, _ in pairs]
        # In flow style, the last region ends before the closing brace.
        last = self._models.end_mark.index - 1 if self.is_flow else self._end
        stops = [*starts[1:], last][: len(starts)]
        self._entries = [
            _Entry(start, self._content_end(start, stop)) for start, stop in zip(starts, stops, strict=True)
        ]

    def _content_end(self, start: int, stop: int) -> int:
        """Return where the content ends that begins in a region of the text."""
        low, high = (bisect.bisect_left(self._tokens, (position, -1)) for position in (start, stop))
        return max(end for _, end in self._tokens[low:high])

    def _refuse(self, node: yaml.Node, message: str) -> NoReturn:
        raise _error(self._file, node.start_mark.line + 1, message)

    # --- block style ---

    def _column(self) -> int:
        """Return the column of the models' names, each of which must begin its line."""
        for entry in self._entries:
            if self._lines.before(entry.start).strip(" "):
                line = self._lines.of(entry.start)
                raise _error(self._file, line + 1, "expected the name of a model at the start of its line")
        return len(self._lines.before(self._entries[0].start))

    def _step(self) -> int:
        """Return by how many spaces the keys of the first model are indented further than its name."""
        key, node = self._models.value[0]
        if not isinstance(node, yaml.MappingNode) or node.flow_style or not node.value:
            return 2
        return int(node.start_mark.column) - int(key.start_mark.column)

    def _first_line(self, index: int, column: int) -> int:
        """Return the first line of a model, with the comments directly above its name."""
        line = self._lines.of(self._entries[index].start)
        top = self._last_line(index - 1, column) if index else self._lines.of(self._key.end_mark.index)
        while line - 1 > top and self._lines.comment_column(line - 1) == column:
            line -= 1
        return line

    def _last_line(self, index: int, column: int) -> int:
        """Return the last line of a model, with comments that are indented further than its name."""
        entry = self._entries[index]
        last = self._lines.of(entry.end - 1)
        end = self._entries[index + 1].start if index + 1 < len(self._entries) else self._end
        stop = self._lines.of(end) if end < len(self._text) else len(self._lines)
        for line in range(last + 1, stop):
            found = self._lines.comment_column(line)
            if found is not None and found > column:
                last = line
            elif found is not None or not self._lines.is_blank(line):
                break
        return last

    def _is_blank_above(self, index: int, column: int) -> bool:
        above = self._first_line(index, column) - 1
        return above > self._last_line(index - 1, column) and self._lines.is_blank(above)

    def with_block(self, name: str, model: ModelSpec) -> str:
        column = self._column()
        last = len(self._entries) - 1
        line = self._last_line(last, column)
        entry = block_entry(name, model, column, self._step())
        # Where the last line is blank, it is part of a block scalar, which a separating line would add to.
        if last > 0 and self._is_blank_above(last, column) and not self._lines.is_blank(line):
            entry = ["", *entry]
        return self._lines.with_lines(line, entry)

    def without_block(self, index: int) -> str:
        column = self._column()
        first, last = self._first_line(index, column), self._last_line(index, column)
        is_last = index == len(self._entries) - 1
        is_blank_above = index > 0 and self._is_blank_above(index, column)
        if is_last and is_blank_above:
            first -= 1
        elif not is_last and (is_blank_above or index == 0):
            while self._lines.is_blank(last + 1):
                last += 1
        head, tail = self._text[: self._lines.start(first)], self._text[self._lines.start(last + 1) :]
        if not tail and not self._lines.has_end(last):
            head = head.removesuffix(self._lines.end_of(first - 1))
        return head + tail

    def with_first(self, name: str, model: ModelSpec) -> str:
        """Return the text with the first model below ``models:`` or in place of ``models: {}``."""
        start, end = self._models.start_mark.index, self._models.end_mark.index
        written = self._text[start:end]
        expected, allowed = ("`{}`", {"{}"}) if self._is_root_flow else ("`{}` or nothing", {"{}", ""})
        if re.sub(r"\s", "", written) not in allowed:
            self._refuse(self._key, f"expected {expected}, found {repr(written) if written else 'nothing'}")
        if self._is_root_flow:
            return f"{self._text[: start + 1]}{flow_entry(name, model, as_json=self._is_json())}{self._text[end - 1 :]}"
        head = self._text[:start].rstrip(" ")
        lines = _Lines(head + self._text[end:])
        return lines.with_lines(lines.of(len(head)), block_entry(name, model, self._key.start_mark.column + 2))

    # --- flow style ---

    def _is_json(self) -> bool:
        return bool(self._key.style == '"')

    def with_flow(self, name: str, model: ModelSpec) -> str:
        last = self._entries[-1]
        closing = self._models.end_mark.index - 1
        self._refuse_comment(last.end, closing)
        # A model on a line of its own gets company of the same kind.
        line = self._lines.of(last.start)
        before = self._lines.before(last.start)
        gap = f",{self._lines.end_of(line)}{before}" if line and not before.strip() else ", "
        entry = flow_entry(name, model, as_json=self._is_json())
        return f"{self._text[: last.end]}{gap}{entry}{self._text[last.end :]}"

    def without_flow(self, index: int) -> str:
        entry = self._entries[index]
        if index:
            start, end = self._entries[index - 1].end, entry.end
            self._refuse_comment(start, entry.start)
        else:
            start, end = entry.start, self._entries[1].start
            self._refuse_comment(entry.end, end)
        return self._text[:start] + self._text[end:]

    def _refuse_comment(self, start: int, end: int) -> None:
        if self._text[start:end].strip().strip(",").strip():
            line = self._lines.of(start) + 1
            raise _error(self._file, line, "expected nothing but a comma beside the model, found a comment")
