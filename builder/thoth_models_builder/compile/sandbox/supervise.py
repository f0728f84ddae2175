"""Run a function in a confined child, watch what it uses, and leave nothing of it behind."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from thoth_models_builder.compile.errors import ConfinedError, NotConfinedError, SandboxError
from thoth_models_builder.compile.sandbox.confine import (
    FIRST_USER,
    HOME,
    KEPT_DESCRIPTOR,
    NOBODY,
    PR_SET_PARENT_DEATH_SIGNAL,
    USERS,
    Limits,
    confine,
)
from thoth_models_builder.compile.sandbox.proof import prove_confinement
from thoth_models_builder.compile.sandbox.results import MAX_DEPTH, measured, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PAUSE: Final = 0.2
"""Seconds between two looks at what the child uses."""
_SIGNALS: Final = frozenset({signal.SIGCHLD, signal.SIGTERM})
_RESERVE: Final = 1024**3
"""Bytes of the disk that stay free, or half of what is free at the beginning."""
_OUTPUT_BYTES: Final = 4 * 1024**2
_READ: Final = 65536


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
            f"expected Linux, whose kernel can confine a process, found {sys.platform}; build in a container"
        )
    (scratch / HOME).mkdir(exist_ok=True)
    user = _given(scratch)
    ctypes.CDLL(None).prctl(PR_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    watcher, free = os.getpid(), shutil.disk_usage(scratch).free
    reserve = min(_RESERVE, free // 2)

    def confined() -> None:
        confine(scratch, readable, limits, watcher, user)
        prove_confinement(outside, watcher)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        child = _start(work, confined)
        code = _watched(child, scratch, limits, reserve)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if not child.ran:
        raise NotConfinedError("nothing was run, because the process could not be confined; the reason is above")
    if code < 0:
        name = signal.Signals(-code).name
        raise SandboxError(f"the confined process ended with {name} (SIGKILL is often a lack of memory)")
    if code:
        raise ConfinedError("the confined process failed; its error is above")


def _given(scratch: Path) -> int:
    """Give the directories of a child of root to a user that nothing else has, and return that user."""
    user = os.geteuid()
    if user != 0:
        return user
    for user in (FIRST_USER + os.getpid() % USERS, NOBODY):
        try:
            for directory, _, _ in os.walk(scratch):
                os.chown(directory, user, user, follow_symlinks=False)
            # That user has to get to the directories in it.
            os.chown(scratch.parent, -1, user)
            scratch.parent.chmod(0o710)
        except PermissionError:
            # Without the capability, root stays the user of the child.
            break
        except OSError:
            continue  # a container without that user
        return user
    return NOBODY


class _Child(NamedTuple):
    """A confined process: its id, where its output can be read, and whether it was proved to be confined and so ran."""

    process: int
    output: int
    ran: bool


def _start(work: Callable[[], None], confined: Callable[[], None]) -> _Child:
    """Start the child, and let it work once it has been proved that it is confined, and that it can be ended.

    Its output is a pipe, because the length of a file that is open already is limited by nothing.
    """
    output, written = os.pipe()
    here, there = socket.socketpair()
    with here, there:
        child = os.fork()
        if child == 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.dup2(written, 1)
            os.dup2(written, 2)
            os.dup2(there.fileno(), KEPT_DESCRIPTOR)
            _run(work, confined)
        os.close(written)
        os.set_blocking(output, False)
        there.close()
        ran = bool(here.recv(1))
        try:
            if ran:
                os.kill(child, 0)
        except PermissionError as error:
            # It ends itself, because it is not told to go on.
            here.close()
            os.waitpid(child, 0)
            os.close(output)
            raise SandboxError(
                "expected to be able to end the confined process, which runs as another user, found "
                "that this user may not (CAP_KILL)"
            ) from error
        with suppress(OSError):
            here.send(b"1")
    return _Child(child, output, ran)


def _run(work: Callable[[], None], confined: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        confined()
        os.write(KEPT_DESCRIPTOR, b"1")
        go = os.read(KEPT_DESCRIPTOR, 1)
        os.close(KEPT_DESCRIPTOR)
        if go:
            work()
            code = 0
    except BaseException:  # noqa: BLE001 - the process ends here, and its log has the reason
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _watched(child: _Child, scratch: Path, limits: Limits, reserve: int) -> int:
    """Wait for a child, and return its exit code, or the negative number of its signal."""
    ended, room = False, _OUTPUT_BYTES
    try:
        while True:
            received = signal.sigtimedwait(_SIGNALS, _PAUSE)
            process, status = os.waitpid(child.process, os.WNOHANG)
            room -= _copy(child.output, room)
            if process:
                ended = True
                return os.waitstatus_to_exitcode(status)
            if received is not None and received.si_signo == signal.SIGTERM:
                _end(child.process)
                ended = True
                remove_tree(scratch)
                os._exit(128 + signal.SIGTERM)
            if excess := _excess(child.process, scratch, limits, reserve, room):
                raise SandboxError(f"the confined process was stopped: expected {excess}")
    finally:
        if not ended:
            _end(child.process)
            _copy(child.output, room)
        os.close(child.output)


def _copy(output: int, room: int) -> int:
    """Copy what is in a pipe to the output of this process, and return its length, which is ``room`` at most."""
    done = 0
    with suppress(BlockingIOError):
        while data := os.read(output, min(_READ, room - done)):
            done += len(data)
            while data:
                data = data[os.write(1, data) :]
    return done


def _end(child: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _excess(child: int, scratch: Path, limits: Limits, reserve: int, room: int) -> str | None:
    """Return what the child uses more of than it may; None if there is nothing."""
    threads = 0
    with suppress(OSError, ValueError), Path(f"/proc/{child}/stat").open(encoding="ascii", errors="replace") as file:
        # The name of the program, in parentheses, may contain anything.
        threads = int(file.read().rpartition(")")[2].split()[17])
    # Files that are open, but have no name any more, are found nowhere else.
    if (free := shutil.disk_usage(scratch).free) < reserve:
        return f"to leave {reserve} bytes of the disk free, found {free}"
    size, entries, depth = measured(scratch)
    uses = (
        (threads, limits.threads, "threads"),
        (depth, MAX_DEPTH, "directories in each other"),
        (size, limits.disk, "bytes of files"),
        (entries, limits.entries, "files"),
        (_OUTPUT_BYTES - room, _OUTPUT_BYTES - 1, "bytes of output"),
    )
    return next((f"at most {most} {what}, found {found}" for found, most, what in uses if found > most), None)
