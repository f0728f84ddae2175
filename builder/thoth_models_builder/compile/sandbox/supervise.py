"""Run a function in a confined child, watch what it uses, and leave nothing of it behind."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from thoth_models_builder.compile.errors import ConfinedError, SandboxError
from thoth_models_builder.compile.sandbox.confine import HOME, NOBODY, Limits, confine
from thoth_models_builder.compile.sandbox.proof import prove_confinement
from thoth_models_builder.compile.sandbox.results import MAX_DEPTH, measured, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PAUSE: Final = 0.2
"""Seconds between two looks at what the child uses."""
_SIGNALS: Final = frozenset({signal.SIGCHLD, signal.SIGTERM})
_PR_SET_PARENT_DEATH_SIGNAL: Final = 1
_NOT_CONFINED: Final = 78
"""Exit code of a child that was not confined, and so did not run the code."""


def run_confined(
    work: Callable[[], None], *, scratch: Path, outside: Path, readable: Sequence[Path], limits: Limits
) -> None:
    """Run ``work`` in a child of this process that is confined, and wait for it.

    A SIGTERM to this process, or the end of its parent, ends the child and then this process, which must have a single
    thread.

    Args:
        work: The function; its output goes to that of this process.
        scratch: A directory that exists; the only one that the child can write to.
        outside: A directory of the builder outside of it, for the proof that the child can neither read nor write it.
        readable: Places that the child may read, besides the libraries.
        limits: What the child may use.

    Raises:
        SandboxError: The child could not be confined, or used more than it may, or failed; its own error is in the
            output.
    """
    if sys.platform != "linux":
        raise SandboxError(
            f"expected Linux, whose kernel confines a model's own code, found {sys.platform}; build in a container"
        )
    (scratch / HOME).mkdir(exist_ok=True)
    if os.geteuid() == 0:
        for directory, _, _ in os.walk(scratch):
            with suppress(PermissionError):  # without the capability, root stays the user of the child
                os.chown(directory, NOBODY, NOBODY, follow_symlinks=False)
    ctypes.CDLL(None).prctl(_PR_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    watcher = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        child = os.fork()
        if child == 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            _run(work, lambda: _confine(scratch, outside, readable, limits, watcher))
        code = _watched(child, scratch, limits)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if code == _NOT_CONFINED:
        raise ConfinedError("the model's own code was not run, because it could not be confined; the reason is above")
    if code < 0:
        name = signal.Signals(-code).name
        raise SandboxError(f"the model's own code ended with {name} (SIGKILL is often a lack of memory)")
    if code:
        raise ConfinedError("the model's own code failed; its error is above")


def _confine(scratch: Path, outside: Path, readable: Sequence[Path], limits: Limits, watcher: int) -> None:
    confine(scratch, readable, limits, watcher)
    prove_confinement(outside, watcher)


def _run(work: Callable[[], None], confined: Callable[[], None]) -> NoReturn:
    code = _NOT_CONFINED
    try:
        confined()
        code = 1
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - the process ends here, and its log has the reason
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _watched(child: int, scratch: Path, limits: Limits) -> int:
    """Wait for a child, and return its exit code, or the negative number of its signal."""
    ended = False
    try:
        while True:
            received = signal.sigtimedwait(_SIGNALS, _PAUSE)
            process, status = os.waitpid(child, os.WNOHANG)
            if process:
                ended = True
                return os.waitstatus_to_exitcode(status)
            if received is not None and received.si_signo == signal.SIGTERM:
                _end(child)
                ended = True
                remove_tree(scratch)
                os._exit(128 + signal.SIGTERM)
            if excess := _excess(child, scratch, limits):
                raise SandboxError(f"the model's own code was stopped: expected {excess}")
    finally:
        if not ended:
            _end(child)


def _end(child: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _excess(child: int, scratch: Path, limits: Limits) -> str | None:
    """Return what the child uses more of than it may; None if there is nothing."""
    with suppress(OSError, ValueError), Path(f"/proc/{child}/stat").open(encoding="ascii", errors="replace") as file:
        # The name of the program, in parentheses, may contain anything.
        threads = int(file.read().rpartition(")")[2].split()[17])
        if threads > limits.threads:
            return f"at most {limits.threads} threads, found {threads}"
    size, entries, depth = measured(scratch)
    if depth > MAX_DEPTH:
        return f"at most {MAX_DEPTH} directories in each other, found more"
    if size > limits.disk:
        return f"at most {limits.disk} bytes of files, found {size}"
    if entries > limits.entries:
        return f"at most {limits.entries} files, found {entries} or more"
    return None
