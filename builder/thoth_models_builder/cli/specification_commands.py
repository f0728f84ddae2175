"""``thoth-bundle init | add | remove | outdated``: edit models.yaml, or compare its lock with the Hub."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from thoth_models.cli.command import DONE, print_json
from thoth_models_builder.cli import terminal
from thoth_models_builder.cli.failures import (
    CHANGE_REVISION,
    CHECK_NETWORK,
    LOCK_AGAIN,
    SOURCE_FAILED,
    VERIFICATION_FAILED,
)
from thoth_models_builder.cli.options import (
    add_model_arguments,
    file_options,
    json_option,
    limit_options,
    limits_of,
    lock_path,
    store_of,
    store_option,
)
from thoth_models_builder.pipeline.specification import add, outdated, remove
from thoth_models_builder.pipeline.specification.both_files import Places

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from thoth_models.cli.command_help import Commands
    from thoth_models_builder.reports.results import EditReport, OutdatedModelReport

_SOURCE = (
    "ORG/NAME or ORG/NAME@REVISION of the Hub, ./DIRECTORY, or NAME==VERSION!DIRECTORY in a wheel; hub:, directory: or "
    "wheel: may stand before it, as in reports"
)


def add_commands(commands: Commands) -> None:
    """Add ``init``, ``add``, ``remove`` and ``outdated``."""
    asking = [json_option(), file_options(), store_option(), limit_options()]
    command = commands.add_parser("init", parents=asking, help="write a first models.yaml, with comments")
    command.add_argument("sources", metavar="SOURCE", nargs="*", help=f"a model: {_SOURCE} (default: an example)")
    command.set_defaults(run=_init)

    command = commands.add_parser(
        "add", parents=asking, help="check a model, add it to models.yaml at its commit, and lock it"
    )
    command.add_argument("source", metavar="SOURCE", help=_SOURCE)
    command.add_argument("--name", help="name of the model (default: the last part of its id)")
    command.add_argument(
        "--variant", action="append", default=[], help="a form to ship; repeat in order of preference (onnx-fp32)"
    )
    command.add_argument("--alias", action="append", default=[], help="another name; repeat for several")
    add_model_arguments(command)
    command.set_defaults(run=_add)

    command = commands.add_parser(
        "remove",
        parents=[json_option(), file_options()],
        help="remove a model, and the comments that belong to it, from models.yaml and models.lock",
    )
    command.add_argument("name", metavar="NAME", help="name of the model")
    command.set_defaults(run=_remove)

    command = commands.add_parser(
        "outdated",
        parents=asking,
        help="list models whose branch has another commit, and whether vectors would change with it",
    )
    command.add_argument(
        "--check", action="store_true", help="exit with 1 if a branch has another commit than the lock"
    )
    command.set_defaults(run=_outdated)


def _places(options: argparse.Namespace) -> Places:
    return Places(file=options.file, lock=lock_path(options), store=store_of(options))


def _init(options: argparse.Namespace) -> int:
    report = add.init(_places(options), options.sources, limits=limits_of(options), watcher=terminal.TerminalWatcher())
    return _show(options, report, "run `thoth-bundle lock`, then `thoth-bundle build`")


def _add(options: argparse.Namespace) -> int:
    model = add.NewModelOptions(
        source=options.source,
        name=options.name,
        variants=options.variant,
        aliases=options.alias,
        revision=options.revision,
        pooling=options.pooling,
    )
    report = add.add(_places(options), [model], limits=limits_of(options), watcher=terminal.TerminalWatcher())
    return _show(options, report)


def _remove(options: argparse.Namespace) -> int:
    report = remove.remove(options.file, lock_path(options), options.name)
    return _show(options, report, "`thoth-bundle build` makes the bundle without it")


def _show(options: argparse.Namespace, report: EditReport, hint: str | None = None) -> int:
    if options.json:
        print_json({"ok": True, **dataclasses.asdict(report)})
        return DONE
    terminal.show_edit(report)
    if report.differences:
        hint = LOCK_AGAIN
    elif report.sources:
        hint = "`thoth-bundle build` makes the bundle"
    terminal.show_hint(hint)
    return DONE


def _outdated(options: argparse.Namespace) -> int:
    models = outdated.outdated(_places(options), limits=limits_of(options), watcher=terminal.TerminalWatcher())
    is_failed = any(model.state == "unknown" for model in models)
    if options.json:
        print_json({"ok": not is_failed, "models": [_document(model) for model in models]})
    else:
        terminal.show_outdated(models)
        if is_failed:
            terminal.show_hint(CHECK_NETWORK)
        else:
            terminal.show_hint(_step_to_upstream(models))
    if is_failed:
        return SOURCE_FAILED
    return VERIFICATION_FAILED if options.check and any(model.is_outdated for model in models) else DONE


def _step_to_upstream(models: Sequence[OutdatedModelReport]) -> str | None:
    """Return how to take the other commits; None where `lock` would refuse one of them."""
    if any(model.state == "refused" and not model.is_pinned for model in models):
        return None
    pinned = {model.is_pinned for model in models if model.state in ("same vectors", "new space")}
    if not pinned:
        return None
    return CHANGE_REVISION if True in pinned else LOCK_AGAIN


def _document(model: OutdatedModelReport) -> dict[str, object]:
    return {**dataclasses.asdict(model), "is_outdated": model.is_outdated}
