"""``thoth-bundle diff | sbom``: the commands that only read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from thoth_models.cli.command import print_json
from thoth_models_builder.cli import terminal
from thoth_models_builder.cli.failures import INDEX_AGAIN
from thoth_models_builder.pipeline import inspect
from thoth_models_builder.reports.pull_request import render

if TYPE_CHECKING:
    import argparse

    from thoth_models.cli.command_help import Commands
    from thoth_models_builder.pipeline.inspect import LayerDiff

_DONE, _MUST_INDEX = 0, 1


def add_diff(commands: Commands) -> None:
    """Add ``diff``, with the layers that a service pulls again, and as the report for a pull request."""
    command = commands.add_parser(
        "diff", help="say what changes from one bundle to another, and whether to index again"
    )
    command.add_argument("before", type=Path, help="the bundle that is in use")
    command.add_argument("after", type=Path, help="the bundle that is to replace it")
    command.add_argument("--check", action="store_true", help="exit with 1 if an index must be made again")
    command.add_argument(
        "--layers",
        type=Path,
        nargs=2,
        metavar=("BEFORE", "AFTER"),
        help="image layouts of the two; also list the layers that a service pulls again",
    )
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    form.add_argument("--markdown", action="store_true", help="print a report for a pull request instead of text")
    command.set_defaults(run=_diff)


def add_sbom(commands: Commands) -> None:
    """Add ``sbom``."""
    command = commands.add_parser("sbom", help="print the bill of materials of a bundle, as CycloneDX in JSON")
    command.add_argument("root", type=Path, nargs="?", default=Path("bundle"), help="the bundle (default: bundle)")
    command.set_defaults(run=_sbom)


def _diff(options: argparse.Namespace) -> int:
    report = inspect.diff(options.before, options.after)
    images = None if options.layers is None else inspect.compare_layers(*options.layers)
    document: dict[str, object] = {"ok": not (options.check and report.needs_reindex), **dataclasses.asdict(report)}
    if images is not None:
        document["layers"] = [dataclasses.asdict(image) for image in images]
    if options.json:
        print_json(document)
    elif options.markdown:
        # The report is rendered also if an index must be made again.
        terminal.show_text(render(json.dumps({**document, "ok": True}).encode()))
    else:
        terminal.show_diff(report)
        for image in images or ():
            terminal.show_differences(_layer_lines(image))
    if options.check and report.needs_reindex:
        terminal.show_hint(INDEX_AGAIN)
    return _MUST_INDEX if options.check and report.needs_reindex else _DONE


def _layer_lines(image: LayerDiff) -> list[str]:
    lines = [f"layers for {', '.join(image.platforms)}:"]
    width = max((len(layer.name) for layer in image.layers), default=0)
    for layer in image.layers:
        state = f"{layer.state}: {inspect.STATES[layer.state]}"
        lines.append(f"  {layer.name:<{width}} {layer.size:>15,} bytes  {layer.digest[:12]}  {state}")
    lines += [f"  {name}: gone" for name in image.gone]
    lines.append(f"  pulled again: {image.pulled:,} of {image.bytes:,} bytes")
    return lines


def _sbom(options: argparse.Namespace) -> int:
    terminal.show_text(inspect.sbom(options.root))
    return _DONE
