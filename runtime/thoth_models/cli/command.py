"""The frame around each command of both command lines, which guarantees the meaning of exit codes.

Without it, an uncaught exception or an output that cannot be written would make the interpreter exit with 1 or 120; but
1 means that a verification failed.
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

from thoth_models.bundle.hidden_characters import escaped
from thoth_models.cli.plain_output import plain_output
from thoth_models.errors import ThothModelsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DONE = 0
"""Exit code of a command that has done what it was asked for."""

FAILED = 4
"""Exit code of a failure that is neither a failed verification nor wrong usage."""


def run_command(
    run: Callable[[], int],
    report: Callable[[Exception], int],
    *,
    expected: tuple[type[Exception], ...] = (),
    clean: Callable[[str], str] = escaped,
) -> int:
    """Run one command and return its exit code; never raises.

    Args:
        run: Runs the command, prints its output, and returns the exit code.
        report: Prints an error, and returns the exit code for it.
        expected: Exceptions that users may cause; others are bugs, and are shown with their traceback.
        clean: Returns a text as it is printed, whatever the names in it.
    """
    if sys.stdout is None:  # closed by the parent process
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - stays open for the rest of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A result must be printable whatever the locale and the file names in it.
            stream.reconfigure(errors="backslashreplace")
    try:
        with plain_output(clean):
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
    except MemoryError:
        # Without a traceback: the place where the memory ended is not the one that used it.
        return report(MemoryError("expected memory for the next step, found none left"))
    except Exception as error:  # noqa: BLE001 - the interpreter would exit with 1
        traceback.print_exc()
        return report(error)


def _drop_output() -> None:
    """Redirect standard output, so that the interpreter reports no error when it flushes it at exit."""
    with contextlib.suppress(OSError, io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def diverted_output() -> Iterator[None]:
    """Send to standard error what libraries print meanwhile, in Python or below it: standard output is for results."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        with contextlib.suppress(OSError):  # one of the two is closed
            output = os.dup(1)
            stack.callback(os.close, output)
            os.dup2(2, 1)
            stack.callback(os.dup2, output, 1)
        yield


def print_json(document: dict[str, object]) -> None:
    """Print one JSON document in ASCII, so that it is valid whatever the locale and the file names in it."""
    print(json.dumps(document, indent=2))


def print_note(note: str | None) -> None:
    """Print a note on standard error; nothing for None."""
    if note is not None:
        print(f"note: {note}", file=sys.stderr)
