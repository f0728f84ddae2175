"""Parse YAML into plain data with the line of every key path, and report features that a specification must not use.

PyYAML composes the tree of nodes; this module turns it into dicts and lists, because the constructor of PyYAML loses
the lines and accepts repeated keys silently.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml

from thoth_models_builder.errors import Finding, SpecError

KeyPath: TypeAlias = tuple[str | int, ...]

_MAX_FILE_SIZE = 1024 * 1024
"""Largest specification, in bytes."""

_MAX_NODES = 100_000
"""Nodes, counting repeated ones each time: anchors could otherwise expand a small file without limit."""

_MAX_DEPTH = 50

_STANDARD = "tag:yaml.org,2002:"
_STRING = f"{_STANDARD}str"
_MERGE = f"{_STANDARD}merge"
_SHOWN = 80


@dataclass
class YamlDocument:
    """A parsed file.

    Attributes:
        value: Its content as dicts, lists and scalars; None for an empty file.
        findings: Repeated and non-string keys, tags, and scalars that cannot be read.
    """

    value: object = None
    findings: list[Finding] = field(default_factory=list)
    _lines: dict[KeyPath, int] = field(default_factory=dict)
    _written: dict[KeyPath, str] = field(default_factory=dict)

    def written(self, path: KeyPath) -> str | None:
        """Return a value that YAML reads as a boolean, number or date as the file has it, such as ``no``; else None."""
        return self._written.get(path)

    def line(self, path: KeyPath) -> int | None:
        """Return the line of ``path``, or of its longest prefix that is in the file."""
        for length in range(len(path), -1, -1):
            if (line := self._lines.get(path[:length])) is not None:
                return line
        return None


def key_path_text(path: KeyPath) -> str:
    """Return a key path as text, such as ``models.mini.sources[0].revision``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            # A key may contain anything; line breaks and escape sequences must not reach a terminal.
            key = part if part.isprintable() else json.dumps(part)
            text += f".{key}" if text else key
    return text


def parse_yaml(data: bytes, file: str) -> YamlDocument:
    """Parse one YAML document; ``file`` is its name for messages.

    Raises:
        SpecError: It is too large, not UTF-8, or not one YAML document.
    """
    if len(data) > _MAX_FILE_SIZE:
        raise _error(file, None, f"expected at most {_MAX_FILE_SIZE} bytes, found {len(data)}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _error(file, line, f"expected UTF-8, found the byte 0x{data[error.start]:02x}") from error
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        place = text[: error.position].count("\n") + 1
        raise _error(file, place, f"expected text, found the character U+{error.character:04X}") from error
    try:
        node = loader.get_single_node()
        document = YamlDocument()
        if node is None:
            document._lines[()] = 1  # noqa: SLF001 - an empty file has no node to take the line from
        else:
            document.value = _Reader(loader, document, file).read(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        found = " ".join(part for part in (error.context, error.problem) if part)
        raise _error(file, mark.line + 1 if mark else None, f"expected one YAML document, found: {found}") from error
    except (RecursionError, ValueError, OverflowError) as error:
        # Raised by PyYAML for deep nesting, and for escapes beyond the last character of Unicode.
        message = f"expected one YAML document, found something else ({error})"
        raise _error(file, loader.line + 1, message) from error
    finally:
        loader.dispose()
    return document


def flow_text(value: object) -> str:
    """Return a value as YAML on one line; what would not be read as a string is quoted."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False)
    return text.strip()


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _error(file: str, line: int | None, message: str) -> SpecError:
    return SpecError(file, [Finding(line=line, path="", message=message)])


class _Reader:
    def __init__(self, loader: yaml.SafeLoader, document: YamlDocument, file: str) -> None:
        self._loader = loader
        self._document = document
        self._file = file
        self._nodes = 0

    def read(self, node: yaml.Node, path: KeyPath) -> object:
        self._nodes += 1
        line = node.start_mark.line + 1
        if self._nodes > _MAX_NODES or len(path) > _MAX_DEPTH:
            what = f"at most {_MAX_NODES} values, at most {_MAX_DEPTH} deep"
            raise _error(self._file, line, f"expected {what}, anchors expanded, found more")
        self._document._lines.setdefault(path, line)  # noqa: SLF001 - the one writer of that field
        self._refuse_tag(node, path)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _refuse_tag(self, node: yaml.Node, path: KeyPath) -> None:
        """Report a tag that contradicts its value; ``!!str`` before a scalar is accepted like quotes."""
        is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
        implied = self._loader.resolve(  # type: ignore[no-untyped-call]
            type(node), node.value, (is_plain, not is_plain)
        )
        if node.tag != implied and not (isinstance(node, yaml.ScalarNode) and node.tag == _STRING):
            self._note(node, path, f"expected no tag, found {node.tag.replace(_STANDARD, '!!')}")
            # Continue without the tag, so that one report has all findings.
            node.tag = implied

    def _scalar(self, node: yaml.Node, path: KeyPath) -> object:
        try:
            value = self._loader.construct_object(node, deep=True)
        except (ValueError, OverflowError) as error:
            # It looks like a number or a date, but is not one: 2024-13-01, 0x_.
            reason = str(error).partition(":")[0]
            self._note(node, path, f"expected a value, found {_shortened(node.value)} ({reason}); quote it")
            return str(node.value)
        if value is not None and not isinstance(value, str):
            self._document._written[path] = _shortened(node.value)  # noqa: SLF001 - the one writer of that field
        return value

    def _note(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        finding = Finding(line=node.start_mark.line + 1, path=key_path_text(path), message=message)
        self._document.findings.append(finding)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        mapping: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._note(key_node, path, "expected keys that are strings, found a mapping or list")
                continue
            if key_node.tag == _MERGE:
                self._note(key_node, path, "expected keys that are strings, found a merge (<<); write the keys out")
                continue
            if key_node.tag != _STRING:
                found = _shortened(key_node.value)
                # Continue as if it were quoted, so that nothing else is said to be missing.
                self._note(key_node, path, f"expected keys that are strings, found {found}; quote it")
            key = str(key_node.value)
            below = (*path, key)
            if key in mapping:
                first = self._document.line(below)
                self._note(key_node, below, f"expected each key once, found it again (first in line {first})")
                continue
            self._document._lines[below] = line  # noqa: SLF001 - the one writer of that field
            mapping[key] = self.read(value_node, below)
        return mapping
