"""The directive ``command-help``: the help of a command and of each of its subcommands, as ``--help`` prints it.

``.. command-help:: thoth_models.cli.main:_parser`` takes the function that makes the parser. Nothing is written by
hand, so the page cannot differ from the program.
"""

from __future__ import annotations

import argparse
import importlib
import os
from typing import TYPE_CHECKING, Any, ClassVar
from unittest import mock

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

PLAIN = {"COLUMNS": "88", "NO_COLOR": "1"}
"""argparse wraps its help to the terminal, and from Python 3.14 colours it."""


def parsers(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Return the name, one line about it, and the parser of each subcommand, in the order of the help."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to its subcommands
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            about = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
            for name, command in action.choices.items():
                yield command.prog, about.get(name, ""), command


def help_of(parser: argparse.ArgumentParser) -> str:
    """Return what ``--help`` prints, for a terminal of 90 columns and without colours."""
    with mock.patch.dict(os.environ, PLAIN):
        return parser.format_help()


class CommandHelp(SphinxDirective):
    """A block with the help of the command, then a section for each subcommand."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """Import the parser, and return the block and the sections."""
        module, _, function = self.arguments[0].partition(":")
        parser = getattr(importlib.import_module(module), function)()
        self.env.note_reread()  # the source of the command may have changed
        found: list[nodes.Node] = [_block(parser)]
        for name, about, command in parsers(parser):
            section = nodes.section(names=[nodes.fully_normalize_name(name)])
            section += nodes.title("", "", nodes.literal(name, name))
            if about:
                section += nodes.paragraph(about, f"{about[0].upper()}{about[1:]}.")
            section += _block(command)
            self.state.document.note_implicit_target(section, section)
            found.append(section)
        return found


def _block(parser: argparse.ArgumentParser) -> nodes.literal_block:
    text = help_of(parser)
    return nodes.literal_block(text, text, language="text")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
