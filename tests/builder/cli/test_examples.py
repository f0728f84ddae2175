"""The help of `thoth-bundle`: every command in a group, with examples that are accepted, and the exit codes."""

from __future__ import annotations

import argparse
import shlex

from thoth_models_builder.cli import main as cli
from thoth_models_builder.cli.examples import EXAMPLES, GROUPS
from thoth_models_builder.cli.failures import EXIT_CODES


def test_every_command_is_in_one_group_and_has_examples() -> None:
    parser = cli._parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(commands.choices) == sorted(EXAMPLES)


def test_examples_are_accepted() -> None:
    parser = cli._parser()
    for name, examples in EXAMPLES.items():
        assert examples
        for example in examples:
            program, *arguments = shlex.split(example.partition(" > ")[0])
            assert (program, parser.parse_args(arguments).command) == ("thoth-bundle", name)


def test_the_exit_codes_are_at_the_end_of_the_help() -> None:
    lines = cli._parser().format_help().splitlines()
    table = lines[lines.index("exit codes:") + 1 :]
    assert [line.split(maxsplit=1) for line in table] == [[str(code), text] for code, text in EXIT_CODES.items()]
