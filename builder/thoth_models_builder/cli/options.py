"""The options that several commands share: files, store, limits on waiting; and how numbers are read."""

from __future__ import annotations

import argparse
from pathlib import Path

from thoth_models_builder.pipeline import build, store_directory


def json_option() -> argparse.ArgumentParser:
    """Return a parser of ``--json``, to be the parent of a command's parser, as all parsers here."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    return parser


def file_options() -> argparse.ArgumentParser:
    """Return a parser of the options that name specification and lock."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--file", type=Path, default=Path("models.yaml"), help="the specification (models.yaml)")
    parser.add_argument("--lock", type=Path, help="the lock (default: models.lock beside the specification)")
    return parser


def store_option() -> argparse.ArgumentParser:
    """Return a parser of ``--store``."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--store",
        type=Path,
        help=f"the store (default: {store_directory.STORE_VARIABLE}, else the user's cache directory)",
    )
    return parser


def add_model_arguments(command: argparse.ArgumentParser) -> None:
    """Add what a command asks of a model that is not in models.yaml yet, after its own options."""
    command.add_argument("--revision", help="commit, tag or branch of a repository (default: main)")
    command.add_argument(
        "--pooling",
        action="append",
        default=[],
        metavar="MODE",
        help="how token vectors become one, if no modules.json says so: mean, cls, …; repeat to join several",
    )


def limit_options() -> argparse.ArgumentParser:
    """Return a parser of the limits on waiting that an operator may need to change."""
    defaults = build.Limits()
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("limits on waiting for sources, in seconds unless said otherwise")
    group.add_argument(
        "--connect-timeout", type=positive, default=defaults.connect, help="until a connection is established"
    )
    group.add_argument("--read-timeout", type=positive, default=defaults.read, help="of silence in an answer")
    group.add_argument(
        "--stall-window", type=positive, default=defaults.stall_window, help="time span for measuring the rate"
    )
    group.add_argument(
        "--stall-bytes", type=count, default=defaults.stall_bytes, help="fewer bytes in a window are a stall"
    )
    group.add_argument("--attempts", type=count, default=defaults.attempts, help="failed attempts in a row, per file")
    group.add_argument(
        "--file-deadline",
        type=positive,
        default=defaults.file_deadline,
        help=f"for one file, plus its size at {defaults.file_rate} bytes per second",
    )
    group.add_argument("--wheel-deadline", type=positive, default=defaults.wheel_deadline, help="for one wheel")
    return parser


def positive(text: str) -> float:
    """Read a positive number."""
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number, found {text}")
    return value


def days(text: str) -> float:
    """Read a number of days, which may be 0."""
    value = _number(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, found {text}")
    return value


def count(text: str) -> int:
    """Read an integer of at least 1."""
    value = _number(text)
    if value < 1 or not value.is_integer():
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, found {text}")
    return int(value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, found {text}") from None


def limits_of(options: argparse.Namespace) -> build.Limits:
    """Return the limits that the options of :func:`limit_options` name."""
    return build.Limits(
        connect=options.connect_timeout,
        read=options.read_timeout,
        stall_window=options.stall_window,
        stall_bytes=options.stall_bytes,
        attempts=options.attempts,
        file_deadline=options.file_deadline,
        wheel_deadline=options.wheel_deadline,
    )


def lock_path(options: argparse.Namespace) -> Path:
    """Return the lock that the options of :func:`file_options` name."""
    return options.lock or options.file.parent / "models.lock"  # type: ignore[no-any-return]


def store_of(options: argparse.Namespace) -> Path:
    """Return the store that the option of :func:`store_option` names."""
    return options.store or store_directory.default_store()
