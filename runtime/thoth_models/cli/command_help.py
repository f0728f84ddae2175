"""What both command lines share: commands in groups, examples, exit codes, what to do next, the number of a release."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NoReturn

from thoth_models.process.environment import parsed_release

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no other name for it

USAGE_ERROR = 2
"""Exit code of argparse for a wrong command line."""


class CommandParser(argparse.ArgumentParser):
    """A parser of arguments that lists commands in groups, and names the next step after a wrong command line."""

    groups: Mapping[str, Sequence[str]] = {}
    """Commands by the title of their group; a command in none is listed last."""

    def format_help(self) -> str:
        """Return the help: usage, commands in groups, options, and what follows them."""
        commands = {
            choice.dest: choice
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001 - argparse has no other way to them
            for choice in action._choices_actions  # noqa: SLF001 - as above
        }
        if not commands:
            return super().format_help()
        grouped = {name for names in self.groups.values() for name in names}
        groups = {**self.groups, "other commands": [name for name in commands if name not in grouped]}
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        for title, names in groups.items():
            formatter.start_section(title)
            formatter.add_arguments([commands[name] for name in names if name in commands])
            formatter.end_section()
        formatter.start_section("options")
        formatter.add_arguments([action for action in self._actions if action.option_strings])
        formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()

    def error(self, message: str) -> NoReturn:
        """Print usage, error and next step, and exit with 2."""
        usage = self.format_usage()
        hint = f"hint: `{self.prog} --help` has the options, with examples"
        self.exit(USAGE_ERROR, f"{usage}{self.prog}: error: {message}\n{hint}\n")


def command_parser(
    prog: str, description: str, *, groups: Mapping[str, Sequence[str]], exit_codes: Mapping[int, str]
) -> argparse.ArgumentParser:
    """Return the parser of a command line.

    Args:
        prog: Its name.
        description: What it is for.
        groups: Commands by the title of their group.
        exit_codes: Meaning of each exit code.
    """
    table = "\n".join(["exit codes:", *(f"  {code:<4} {meaning}" for code, meaning in exit_codes.items())])
    parser = CommandParser(
        prog=prog, description=description, epilog=table, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.groups = groups
    return parser


def add_examples(commands: Commands, examples: Mapping[str, Sequence[str]]) -> None:
    """Show examples at the end of the help of each command.

    Args:
        commands: The parsers of the commands.
        examples: Command lines, by the name of the command.
    """
    for name, parser in commands.choices.items():
        lines = examples.get(name, ())
        if lines:
            parser.epilog = "\n".join(["examples:", *(f"  $ {line}" for line in lines)])
            parser.formatter_class = argparse.RawDescriptionHelpFormatter


def release_number(text: str) -> int:
    """Read the number of a release, as the type of an argument."""
    number = parsed_release(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"expected a release such as 5, found {text:.80}")
    return number
