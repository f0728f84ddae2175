"""What both command lines do around a command, so that its exit code says what happened and nothing else does.

An exception that nobody caught, or an output that cannot be written, would make the interpreter exit with 1 or 120; but
1 says that a verification failed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from thoth_models.errors import ThothModelsError

if TYPE_CHECKING:
    from collections.abc import Callable

FAILED = 4
"""Exit code of what is neither a failed verification nor a mistake of the caller."""


def run_command(
    run: Callable[[], int], report: Callable[[Exception], int], *, expected: tuple[type[Exception], ...] = ()
) -> int:
    """Run one command and return its exit code, whatever happens.

    Args:
        run: Does the work, prints, and returns the exit code.
        report: Prints an error, and returns the exit code for it.
        expected: Exceptions that users may meet; others are a fault of ours, and are shown with their traceback.
    """
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name or a locale must not decide whether a result can be printed.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _guarded(run, report, (ThothModelsError, OSError, *expected))
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            with contextlib.suppress(OSError):
                print(f"standard output cannot be written: {error.strerror}", file=sys.stderr)
        _drop_output()
        return FAILED
    return code


def _guarded(run: Callable[[], int], report: Callable[[Exception], int], expected: tuple[type[Exception], ...]) -> int:
    try:
        return run()
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return FAILED
    except expected as error:
        return report(error)
    except Exception as error:  # noqa: BLE001 - the interpreter would exit with 1
        traceback.print_exc()
        return report(error)


def _drop_output() -> None:
    """Point standard output elsewhere, so that the interpreter does not complain when it flushes at its end."""
    with contextlib.suppress(OSError, io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(document: dict[str, object]) -> None:
    """Print one JSON document, in ASCII: it is JSON whatever the locale is, and whatever a file is called."""
    print(json.dumps(document, indent=2))
