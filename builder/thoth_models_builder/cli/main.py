"""``thoth-bundle``: one call for each command; those that edit models.yaml, or compare bundles, are beside it.

Exit codes are in :mod:`thoth_models_builder.cli.failures`.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from thoth_models.cli.command import DONE, print_json, run_command
from thoth_models.cli.command_help import add_examples, command_parser, release_number
from thoth_models_builder import __version__
from thoth_models_builder.cli import attest, check_model, diff_and_sbom, page, sign, specification_commands, terminal
from thoth_models_builder.cli.examples import EXAMPLES, GROUPS
from thoth_models_builder.cli.failures import (
    ADD_A_MIRROR,
    EXIT_CODES,
    LOCK_AGAIN,
    SOURCE_FAILED,
    VERIFICATION_FAILED,
    exit_code,
    next_step,
)
from thoth_models_builder.cli.options import (
    days,
    file_options,
    json_option,
    limit_options,
    limits_of,
    lock_path,
    positive,
    store_of,
    store_option,
)
from thoth_models_builder.errors import BuildError
from thoth_models_builder.pipeline import build, image, inputs, inspect, lock, store_directory
from thoth_models_builder.pipeline.specification.check_lock import check_lock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thoth_models.cli.command_help import Commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    terminal.configure_logging(verbose=options.verbose)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)
    return run_command(
        lambda: int(options.run(options)),
        lambda error: _report_error(error, as_json=getattr(options, "json", False)),
        expected=(BuildError,),
        clean=inputs.as_shown,
    )


def _terminated(number: int, _: object) -> NoReturn:
    """Exit through the cleanup code: orchestrators end a build with SIGTERM."""
    raise SystemExit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "thoth-bundle", "Build verified bundles of embedding models.", groups=GROUPS, exit_codes=EXIT_CODES
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log every attempt on standard error")
    as_json, files, store = json_option(), file_options(), store_option()
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    specification_commands.add_commands(commands)
    check_model.add_check_model(commands)
    command = commands.add_parser(
        "lock",
        parents=[as_json, files, store, limit_options()],
        help="resolve the specification to commits and digests",
    )
    command.add_argument("--check", action="store_true", help="only check whether specification and lock agree")
    command.set_defaults(run=_lock)

    command = commands.add_parser(
        "build", parents=[as_json, files, store, limit_options()], help="build the bundle that the lock describes"
    )
    command.add_argument("--output", type=Path, default=Path("bundle"), help="the bundle directory (default: bundle)")
    command.add_argument("--model", action="append", help="build this model only; repeat for several")
    command.add_argument("--strict", action="store_true", help="fail if a model or variant is missing")
    command.add_argument(
        "--link",
        action="store_true",
        help="hard links into the store instead of copies; a file that is changed in place then changes there too",
    )
    command.add_argument(
        "--compile-deadline",
        type=positive,
        default=3600.0,
        help="seconds for compiling one model (default: 3600)",
    )
    command.set_defaults(run=_build)

    _add_image(commands, as_json)

    command = commands.add_parser("verify", parents=[as_json], help="compare every file of a bundle with its manifest")
    command.add_argument("root", type=Path, nargs="?", default=Path("bundle"), help="the bundle (default: bundle)")
    command.add_argument(
        "--strict", action="store_true", help="files that users other than the owner may write are errors"
    )
    command.add_argument(
        "--expect-digest", "--expect", metavar="DIGEST", help="refuse any bundle except the one of this bundle digest"
    )
    command.add_argument(
        "--min-release",
        type=release_number,
        metavar="NUMBER",
        help="refuse a bundle of a lower release, or without one",
    )
    command.add_argument(
        "--timeout",
        type=positive,
        default=inspect.VERIFY_SECONDS,
        metavar="SECONDS",
        help=f"deadline of comparing the files (default: {inspect.VERIFY_SECONDS:g})",
    )
    sign.add_trust_options(command)
    attest.add_attestation_options(command)
    command.set_defaults(run=_verify)

    command = commands.add_parser("inspect", parents=[as_json], help="print the manifest and report of a bundle")
    command.add_argument("root", type=Path, nargs="?", default=Path("bundle"), help="the bundle (default: bundle)")
    command.set_defaults(run=_inspect)

    sign.add_sign(commands)
    attest.add_attest(commands)
    diff_and_sbom.add_diff(commands)
    page.add_report(commands)
    diff_and_sbom.add_sbom(commands)

    command = commands.add_parser("schema", help="print the JSON Schema of models.yaml")
    command.set_defaults(run=_schema)

    command = commands.add_parser("gc", parents=[as_json, store], help="remove files from the store that no lock names")
    command.add_argument(
        "--lock", type=Path, action="append", help="a lock whose files stay; repeat for several (default: models.lock)"
    )
    command.add_argument(
        "--unused-days", type=days, default=14.0, help="remove only files unused for this many days (default: 14)"
    )
    command.add_argument("--dry-run", action="store_true", help="only report what would be removed")
    command.set_defaults(run=_gc)
    add_examples(commands, EXAMPLES)
    return parser


def _add_image(commands: Commands, as_json: argparse.ArgumentParser) -> None:
    command = commands.add_parser("image", parents=[as_json], help="pack a bundle as an OCI image, without an engine")
    command.add_argument("root", type=Path, nargs="?", default=Path("bundle"), help="the bundle (default: bundle)")
    command.add_argument(
        "--to",
        action="append",
        required=True,
        metavar="DESTINATION",
        help="oci:DIR, docker-archive:FILE, docker, docker:NAME:TAG or registry:HOST/NAME:TAG; repeat for several",
    )
    command.add_argument(
        "--base",
        action="append",
        default=[],
        help="put the layers on this image: oci:DIR, docker:NAME or registry:HOST/NAME:TAG; repeat for bases of other "
        "platforms (default: none)",
    )
    command.add_argument(
        "--runtime-wheel",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="a wheel, or a directory of wheels, for /models-runtime; repeat for several",
    )
    command.add_argument(
        "--platform",
        action="append",
        default=[],
        help=f"such as linux/amd64; repeat for several (default: those of the base, "
        f"else {' and '.join(image.DEFAULT_PLATFORMS)})",
    )
    command.add_argument(
        "--format",
        choices=("image", "modelpack"),
        default="image",
        help="an image, or an artifact by the CNCF's ModelPack",
    )
    command.add_argument(
        "--models-root", default=image.DEFAULT_ROOT, help=f"path of the bundle (default: {image.DEFAULT_ROOT})"
    )
    command.add_argument(
        "--trust",
        type=Path,
        metavar="PATH",
        help="with --base: put the keys, certificates or identities in this file or directory into the image, so that "
        "it accepts only bundles that one of them signed",
    )
    command.add_argument("--name", metavar="NAME:TAG", help="in an engine or archive (default: the bundle's, latest)")
    command.add_argument(
        "--label", type=_label, action="append", default=[], metavar="KEY=VALUE", help="a label; repeat for several"
    )
    command.add_argument("--plain-http", action="store_true", help="use HTTP without TLS for every registry")
    command.add_argument("--sbom", type=Path, metavar="FILE", help="write the bill of materials of the image there")
    command.set_defaults(run=_image)


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, found {text!r}")
    return name, value


def _lock(options: argparse.Namespace) -> int:
    if options.check:
        differences = check_lock(options.file, lock_path(options))
        if options.json:
            print_json({"ok": not differences, "differences": differences})
        else:
            terminal.show_differences(differences or ["specification and lock agree"])
            terminal.show_hint(LOCK_AGAIN if differences else None)
        return VERIFICATION_FAILED if differences else DONE
    report = lock.lock(
        options.file,
        lock_path(options),
        store_of(options),
        limits=limits_of(options),
        watcher=terminal.TerminalWatcher(),
    )
    if options.json:
        print_json({"ok": not report.differences, **dataclasses.asdict(report)})
    else:
        terminal.show_lock(report)
        terminal.show_hint(ADD_A_MIRROR if report.differences else None)
    return SOURCE_FAILED if report.differences else DONE


def _build(options: argparse.Namespace) -> int:
    report = build.build(
        build.BuildOptions(
            file=options.file,
            lock=lock_path(options),
            # Its name and its parent are used, so neither may be empty or "..". resolve() would follow a symlink.
            output=Path(os.path.abspath(options.output)),  # noqa: PTH100
            store=store_of(options),
            models=options.model,
            strict=options.strict,
            link=options.link,
            limits=limits_of(options),
            compile_deadline=options.compile_deadline,
        ),
        terminal.TerminalWatcher(),
    )
    if options.json:
        print_json({"ok": True, **dataclasses.asdict(report)})
    else:
        terminal.show_build(report)
    return DONE


def _image(options: argparse.Namespace) -> int:
    report = image.image(
        image.ImageOptions(
            bundle=options.root,
            to=options.to,
            bases=options.base,
            wheels=options.runtime_wheel,
            platforms=options.platform,
            format=options.format,
            root=options.models_root,
            trust=options.trust,
            name=options.name,
            labels=dict(options.label),
            plain_http=options.plain_http,
            sbom=options.sbom,
        ),
        terminal.TerminalWatcher(),
    )
    if options.json:
        print_json({"ok": True, **dataclasses.asdict(report)})
    else:
        terminal.show_image(report)
    return DONE


def _verify(options: argparse.Namespace) -> int:
    report = inspect.verify(
        options.root,
        strict=options.strict,
        expect_digest=options.expect_digest,
        min_release=options.min_release,
        trust=options.trust,
        signature=options.signature,
        attestations=options.attestations,
        attestations_file=options.attestations_file,
        timeout=options.timeout,
    )
    if options.json:
        print_json({"ok": True, **dataclasses.asdict(report)})
    else:
        terminal.show_check(report)
    return DONE


def _inspect(options: argparse.Namespace) -> int:
    document = inspect.inspect(options.root)
    if options.json:
        print_json({"ok": True, **document})
    else:
        terminal.show_inspection(document)
    return DONE


def _schema(_options: argparse.Namespace) -> int:
    terminal.show_text(inputs.schema())
    return DONE


def _gc(options: argparse.Namespace) -> int:
    report = store_directory.gc(
        store_of(options),
        options.lock or [Path("models.lock")],
        unused_days=options.unused_days,
        dry_run=options.dry_run,
    )
    if options.json:
        print_json({"ok": True, **dataclasses.asdict(report)})
    else:
        terminal.show_collection(report)
    return DONE


def _report_error(error: Exception, *, as_json: bool) -> int:
    if as_json:
        details = {
            name: [item if isinstance(item, str) else dataclasses.asdict(item) for item in items]
            for name in ("findings", "differences", "attempts", "problems", "violations")
            if (items := getattr(error, name, None)) is not None
        }
        print_json({"ok": False, "error": type(error).__name__, "message": str(error), **details})
    else:
        terminal.show_error(str(error), next_step(error))
    return exit_code(error)
