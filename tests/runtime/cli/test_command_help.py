"""Help in groups, examples that parse, and the next step after a wrong command line."""

from __future__ import annotations

import argparse
import shlex

import pytest

from thoth_models.cli import main as cli
from thoth_models.cli.command_help import add_examples, command_parser

Capture = pytest.CaptureFixture[str]


def parser() -> argparse.ArgumentParser:
    made = command_parser("tool", "What it is.", groups={"first": ("b", "a")}, exit_codes={0: "done", 143: "ended"})
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in ("a", "b", "c"):
        commands.add_parser(name, help=f"what {name} does").add_argument("--number", type=int)
    add_examples(commands, {"a": ("tool a", "tool a --number 1")})
    return made


def test_commands_are_listed_in_groups_in_their_order() -> None:
    lines = [line.strip() for line in parser().format_help().splitlines()]
    first, other = lines.index("first:"), lines.index("other commands:")
    assert [line.split()[0] for line in lines[first + 1 : other] if line] == ["b", "a"]
    assert lines[other + 1].split() == ["c", "what", "c", "does"]
    assert lines[-3:] == ["exit codes:", "0    done", "143  ended"]
    assert lines[0] == "usage: tool [-h] COMMAND ..."


def test_examples_are_at_the_end_of_a_commands_help(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(["a", "--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.endswith("examples:\n  $ tool a\n  $ tool a --number 1\n")


@pytest.mark.parametrize(
    ("arguments", "program"), [(["x"], "tool"), ([], "tool"), (["a", "--number", "x"], "tool a"), (["--no"], "tool")]
)
def test_a_wrong_command_line_names_the_next_step(arguments: list[str], program: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(arguments)
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == f"hint: `{program} --help` has the options, with examples"
    assert lines[-2].startswith(f"{program}: error: ")


def test_every_command_of_the_runtime_has_a_group_and_examples_that_parse(capsys: Capture) -> None:
    made = cli._parser()
    assert "other commands" not in made.format_help()
    (commands,) = (action for action in made._actions if isinstance(action, argparse._SubParsersAction))
    assert set(cli._EXAMPLES) == set(commands.choices)
    for name, examples in cli._EXAMPLES.items():
        for example in examples:
            program, *arguments = shlex.split(example.partition(" > ")[0])
            assert program == "thoth-models"
            assert made.parse_args(arguments).command == name
