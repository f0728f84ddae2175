"""``thoth-bundle lock | build | image | verify | inspect | diff | sbom | schema | gc``: one call for each command.

Exit codes: 0 done, 1 verification failed, 2 wrong usage or models.yaml, 3 a source failed, 4 any other error.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from thoth_models.cli.command import FAILED, print_json, run_command
from thoth_models.errors import ManifestError, VerificationError
from thoth_models_builder import __version__
from thoth_models_builder.cli import diff_and_sbom, terminal
from thoth_models_builder.errors import (
    AccuracyError,
    AlternateError,
    BuildError,
    CompilerUnavailableError,
    EngineUnavailableError,
    LockError,
    LockOutOfDateError,
    NotEnoughSpaceError,
    SourceError,
    SourcesFailedError,
    SpecError,
    UnsupportedModelError,
    UsageError,
)
from thoth_models_builder.pipeline import build, image, inputs, inspect, lock, store_directory

if TYPE_CHECKING:
    from collections.abc import Sequence

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no other name for it

DONE, VERIFICATION_FAILED, BAD_INPUT, SOURCE_FAILED = range(4)

_HINTS: tuple[tuple[type[Exception], str], ...] = (
    (LockOutOfDateError, "run `thoth-bundle lock`, and review the lock as a diff"),
    (LockError, "`thoth-bundle lock` writes the lock"),
    (CompilerUnavailableError, "install thoth-models-builder[compile]; or see `golden` in docs/models-yaml.md"),
    (EngineUnavailableError, "`--to docker-archive:FILE` needs no engine, and `docker load` takes the file elsewhere"),
    (NotEnoughSpaceError, "a layout can be on another disk; temporary files go where TMPDIR says"),
    (SourcesFailedError, "a mirror can be listed as a further source of the model: wheel or directory"),
)


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
    )


def _terminated(number: int, _: object) -> NoReturn:
    """Exit through the cleanup code: orchestrators end a build with SIGTERM."""
    raise SystemExit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="thoth-bundle", description="Build verified bundles of embedding models.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log every attempt on standard error")
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    files = argparse.ArgumentParser(add_help=False)
    files.add_argument("--file", type=Path, default=Path("models.yaml"), help="the specification (models.yaml)")
    files.add_argument("--lock", type=Path, help="the lock (default: models.lock beside the specification)")
    store = argparse.ArgumentParser(add_help=False)
    store.add_argument(
        "--store",
        type=Path,
        help=f"the store (default: {store_directory.STORE_VARIABLE}, else the user's cache directory)",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser(
        "lock", parents=[as_json, files, store, _limits()], help="resolve the specification to commits and digests"
    )
    command.add_argument("--check", action="store_true", help="only check whether specification and lock agree")
    command.set_defaults(run=_lock)

    command = commands.add_parser(
        "build", parents=[as_json, files, store, _limits()], help="build the bundle that the lock describes"
    )
    command.add_argument("--output", type=Path, default=Path("bundle"), help="the bundle directory (default: bundle)")
    command.add_argument("--model", action="append", help="build this model only; repeat for several")
    command.add_argument("--strict", action="store_true", help="fail if a model or variant is missing")
    command.add_argument(
        "--compile-deadline",
        type=_positive,
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
    command.set_defaults(run=_verify)

    command = commands.add_parser("inspect", parents=[as_json], help="print the manifest and report of a bundle")
    command.add_argument("root", type=Path, nargs="?", default=Path("bundle"), help="the bundle (default: bundle)")
    command.set_defaults(run=_inspect)

    diff_and_sbom.add_diff(commands)
    diff_and_sbom.add_sbom(commands)

    command = commands.add_parser("schema", help="print the JSON Schema of models.yaml")
    command.set_defaults(run=_schema)

    command = commands.add_parser("gc", parents=[as_json, store], help="remove files from the store that no lock names")
    command.add_argument(
        "--lock", type=Path, action="append", help="a lock whose files stay; repeat for several (default: models.lock)"
    )
    command.add_argument(
        "--unused-days", type=_days, default=14.0, help="remove only files unused for this many days (default: 14)"
    )
    command.add_argument("--dry-run", action="store_true", help="only report what would be removed")
    command.set_defaults(run=_gc)
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
        "--base", help="put the layers on this image: oci:DIR, docker:NAME or registry:HOST/NAME:TAG (default: none)"
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
    command.add_argument("--name", metavar="NAME:TAG", help="in an engine or archive (default: the bundle's, latest)")
    command.add_argument(
        "--label", type=_label, action="append", default=[], metavar="KEY=VALUE", help="a label; repeat for several"
    )
    command.add_argument("--plain-http", action="store_true", help="use HTTP without TLS for every registry")
    command.set_defaults(run=_image)


def _limits() -> argparse.ArgumentParser:
    """Return the options for limits on waiting that an operator may need to change."""
    defaults = build.Limits()
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("limits on waiting for sources, in seconds unless said otherwise")
    group.add_argument(
        "--connect-timeout", type=_positive, default=defaults.connect, help="until a connection is established"
    )
    group.add_argument("--read-timeout", type=_positive, default=defaults.read, help="of silence in an answer")
    group.add_argument(
        "--stall-window", type=_positive, default=defaults.stall_window, help="time span for measuring the rate"
    )
    group.add_argument(
        "--stall-bytes", type=_count, default=defaults.stall_bytes, help="fewer bytes in a window are a stall"
    )
    group.add_argument("--attempts", type=_count, default=defaults.attempts, help="failed attempts in a row, per file")
    group.add_argument(
        "--file-deadline",
        type=_positive,
        default=defaults.file_deadline,
        help=f"for one file, plus its size at {defaults.file_rate} bytes per second",
    )
    group.add_argument("--wheel-deadline", type=_positive, default=defaults.wheel_deadline, help="for one wheel")
    return parser


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, found {text!r}")
    return name, value


def _positive(text: str) -> float:
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number, found {text}")
    return value


def _days(text: str) -> float:
    value = _number(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, found {text}")
    return value


def _count(text: str) -> int:
    value = _number(text)
    if value < 1 or not value.is_integer():
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, found {text}")
    return int(value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, found {text}") from None


def _limits_of(options: argparse.Namespace) -> build.Limits:
    return build.Limits(
        connect=options.connect_timeout,
        read=options.read_timeout,
        stall_window=options.stall_window,
        stall_bytes=options.stall_bytes,
        attempts=options.attempts,
        file_deadline=options.file_deadline,
        wheel_deadline=options.wheel_deadline,
    )


def _lock_path(options: argparse.Namespace) -> Path:
    return options.lock or options.file.parent / "models.lock"  # type: ignore[no-any-return]


def _lock(options: argparse.Namespace) -> int:
    if options.check:
        differences = lock.check_lock(options.file, _lock_path(options))
        if options.json:
            print_json({"ok": not differences, "differences": differences})
        else:
            terminal.show_differences(differences or ["specification and lock agree"])
        return VERIFICATION_FAILED if differences else DONE
    report = lock.lock(
        options.file,
        _lock_path(options),
        options.store or store_directory.default_store(),
        limits=_limits_of(options),
        watcher=terminal.TerminalWatcher(),
    )
    if options.json:
        print_json({"ok": not report.differences, **dataclasses.asdict(report)})
    else:
        terminal.show_lock(report)
    return SOURCE_FAILED if report.differences else DONE


def _build(options: argparse.Namespace) -> int:
    report = build.build(
        build.BuildOptions(
            file=options.file,
            lock=_lock_path(options),
            # Its name and its parent are used, so neither may be empty or "..". resolve() would follow a symlink.
            output=Path(os.path.abspath(options.output)),  # noqa: PTH100
            store=options.store or store_directory.default_store(),
            models=options.model,
            strict=options.strict,
            limits=_limits_of(options),
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
            base=options.base,
            wheels=options.runtime_wheel,
            platforms=options.platform,
            format=options.format,
            root=options.models_root,
            name=options.name,
            labels=dict(options.label),
            plain_http=options.plain_http,
        ),
        terminal.TerminalWatcher(),
    )
    if options.json:
        print_json({"ok": True, **dataclasses.asdict(report)})
    else:
        terminal.show_image(report)
    return DONE


def _verify(options: argparse.Namespace) -> int:
    report = inspect.verify(options.root, strict=options.strict)
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
        options.store or store_directory.default_store(),
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
            for name in ("findings", "differences", "attempts", "problems")
            if (items := getattr(error, name, None)) is not None
        }
        print_json({"ok": False, "error": type(error).__name__, "message": str(error), **details})
    else:
        terminal.show_error(str(error), next((hint for kind, hint in _HINTS if isinstance(error, kind)), None))
    return _exit_code(error)


def _exit_code(error: Exception) -> int:
    if isinstance(error, (VerificationError, ManifestError, LockOutOfDateError, AccuracyError)):
        return VERIFICATION_FAILED
    if isinstance(error, (SpecError, LockError, UsageError, AlternateError, UnsupportedModelError)):
        return BAD_INPUT
    if isinstance(error, (SourceError, SourcesFailedError)):
        return SOURCE_FAILED
    return FAILED
