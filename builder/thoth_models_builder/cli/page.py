"""``thoth-bundle report``: the page about a bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from thoth_models.cli.command import DONE, print_json
from thoth_models_builder.cli import terminal
from thoth_models_builder.cli.failures import BUILD_AGAIN, VERIFICATION_FAILED
from thoth_models_builder.cli.options import json_option

if TYPE_CHECKING:
    import argparse

    from thoth_models.cli.command_help import Commands


def add_report(commands: Commands) -> None:
    """Add ``report``."""
    command = commands.add_parser(
        "report", parents=[json_option()], help="write a page about a bundle, one HTML file that needs nothing else"
    )
    command.add_argument("root", type=Path, nargs="?", default=Path("bundle"), help="the bundle (default: bundle)")
    command.add_argument(
        "--against", type=Path, metavar="OLD", help="the bundle that is in use: also show what changes from it"
    )
    command.add_argument(
        "--benchmarks", type=Path, metavar="FILE", help="what `nox -s bench` stored: also show how fast the models are"
    )
    command.add_argument(
        "--output", type=Path, default=Path("report.html"), metavar="FILE", help="the page (default: report.html)"
    )
    command.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    # Other commands start without Jinja2.
    from thoth_models_builder.pipeline.page.write_page import PageOptions, write_page  # noqa: PLC0415

    report = write_page(
        PageOptions(bundle=options.root, output=options.output, against=options.against, benchmarks=options.benchmarks)
    )
    is_intact = not report.problems
    if options.json:
        print_json({"ok": is_intact, **dataclasses.asdict(report)})
    else:
        state = "every byte verified" if is_intact else "the bundle is not intact"
        terminal.show_text(f"{report.output}: written; {state}\n")
        terminal.show_differences(list(report.problems))
    terminal.show_hint(None if is_intact else BUILD_AGAIN)
    return DONE if is_intact else VERIFICATION_FAILED
