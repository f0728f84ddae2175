"""The commands in the console blocks of documentation pages, as a shell would split them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ASSIGNMENT = re.compile(r"\w+=.*")
_PROMPT = "$ "
_BETWEEN = set("|&;()")


@dataclass(frozen=True)
class Command:
    """One command: the line of the page that it begins at, the line as it is written, and its words."""

    line: int
    text: str
    words: tuple[str, ...]

    def arguments_of(self, program: str) -> list[str] | None:
        """Return what a program is given: it is the command itself, or is run by another, such as ``docker run``."""
        names = [Path(word).name for word in self.words]
        if program not in names:
            return None
        if names[0] != program and names[0] != "docker":
            return None
        place = names.index(program)
        is_entrypoint = self.words[place - 1] == "--entrypoint"  # the image stands between it and its arguments
        return list(self.words[place + (2 if is_entrypoint else 1) :])


def commands_of(text: str) -> list[Command]:
    """Return the commands of a page; in a block with prompts, what has none is output."""
    found = []
    for block in _BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1)) + 1
        has_prompts = any(line.startswith(_PROMPT) for line in block[1].splitlines())
        joined, begun, continued = "", 0, False
        for number, line in enumerate(block[1].splitlines(), first):
            if not continued:
                if has_prompts and not line.startswith(_PROMPT):
                    continue
                joined, begun = "", number
            part = line.removeprefix(_PROMPT)
            continued = part.endswith("\\")
            joined += part.removesuffix("\\")
            if not continued:
                found += [Command(begun, joined, tuple(words)) for words in _simple(joined)]
    return found


def _simple(line: str) -> list[list[str]]:
    """Return the words of each simple command of a line, without assignments, redirections and comments."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= _BETWEEN:
            commands.append([])
        elif word[0] in "<>":
            break
        elif commands[-1] or not _ASSIGNMENT.fullmatch(word):
            commands[-1].append(word)
    return [command for command in commands if command]
