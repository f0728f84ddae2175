"""Run commands of the builder in a process whose changes of files are seen one by one, and may fail or be its end.

The kernel stops a process at each system call of a list, and asks here what to do with it (seccomp's user
notification): let it happen, let it fail with an error, or kill. So a moment is a number, and the same in each run. The
filter is inherited: calls of children and of programs that they start are seen as well.

Commands are run by forks of one server, which has imported the builder once: a fork takes milliseconds.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import fcntl
import gc
import importlib
import json
import os
import platform
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tests.support.compiled import FAKE_SERVER, path_of_children
from thoth_models_builder.compile.sandbox.system_calls import ALLOWED, CONDITIONAL, PRETENDED, REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECONDS: Final = 60.0
"""How long a command may take; beyond that it hangs."""

_MACHINE: Final = platform.machine()
_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NUMBERS: Final = {
    name: number
    for table in (ALLOWED, CONDITIONAL, PRETENDED, REFUSED)
    for name, number in table.get(_MACHINE, {}).items()
} | {"clone3": 435}

# The position of a path among the arguments, after that of the directory that it is relative to, or of a descriptor.
_AT: Final = {
    "openat": (0, 1),
    "mkdirat": (0, 1),
    "unlinkat": (0, 1),
    "linkat": (2, 3),
    "symlinkat": (1, 2),
    "renameat": (2, 3),
    "renameat2": (2, 3),
    "fchmodat": (0, 1),
    "fchmodat2": (0, 1),
    "utimensat": (0, 1),
}
_PATHS: Final = {
    **dict.fromkeys(("open", "creat", "mkdir", "rmdir", "unlink", "chmod", "truncate"), 0),
    **dict.fromkeys(("rename", "link", "symlink"), 1),
}
_DESCRIPTORS: Final = {
    **dict.fromkeys(("write", "pwrite64", "writev", "ftruncate", "fsync", "fdatasync", "fchmod", "ioctl"), 0),
    "sendfile": 0,
    "copy_file_range": 2,
}
_CREATING: Final = os.O_CREAT | os.O_TRUNC
_CLONE_FILE: Final = 0x40049409  # the ioctl FICLONE

MAKING: Final = frozenset({"open", "openat", "creat", "mkdir", "mkdirat"})
SPACE: Final = MAKING | {
    *("link", "linkat", "symlink", "symlinkat"),
    *("write", "pwrite64", "writev", "sendfile", "copy_file_range"),
}
"""Calls that need space on the disk; those of MAKING, unless what they make is there."""
SYNCS: Final = frozenset({"fsync", "fdatasync"})
RENAMES: Final = frozenset({"rename", "renameat", "renameat2"})
REMOVALS: Final = frozenset({"unlink", "unlinkat", "rmdir"})
FORKS: Final = frozenset({"clone", "clone3", "fork", "vfork"})

_NOTIFICATION: Final = struct.Struct("=QIIiIQ6Q")
_ANSWER: Final = struct.Struct("=QqiI")
_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # linux/seccomp.h: SECCOMP_IOCTL_NOTIF_RECV and _SEND
_CONTINUE: Final = 1
_PR_SET_NO_NEW_PRIVILEGES, _PR_SET_CHILD_SUBREAPER = 38, 36
_WORKING_DIRECTORY: Final = 0xFFFFFF9C  # AT_FDCWD


@dataclass(frozen=True)
class Call:
    """A system call that is about to happen: its name, the path that it changes, and the process that makes it."""

    name: str
    path: str
    process: int

    def __str__(self) -> str:
        return f"{self.name} {self.path}"


@dataclass
class Outcome:
    """What came of a command.

    Attributes:
        code: Exit code, or the number of a signal, negative.
        out: Standard output.
        err: Standard error.
        calls: The calls that were seen, in order.
    """

    code: int
    out: str
    err: str
    calls: list[Call] = field(default_factory=list)

    @property
    def document(self) -> dict[str, object]:
        """The JSON that a command printed."""
        document: dict[str, object] = json.loads(self.out)
        return document


KILLED: Final = -1
Decision = int | None
"""What becomes of a call: None to let it happen, the number of an error, or KILLED if its process was."""


class Commands:
    """A server that runs commands of the builder, for the time of a block.

    Args:
        root: Calls that change files below this directory are seen.
        environment: The environment of the commands, besides what Python needs.
    """

    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        self._root = str(root)
        self._environment = dict(environment)
        self._place = tempfile.TemporaryDirectory(prefix="commands-")

    def __enter__(self) -> Self:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(other.fileno())],
                env={**_inherited(), "PYTHONPATH": path_of_children()},
                pass_fds=(other.fileno(),),
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        try:
            self._process.wait(SECONDS)
        finally:
            self._process.kill()
            self._place.cleanup()

    def run(
        self,
        *arguments: str,
        decide: Callable[[int, Call, int], Decision] | None = None,
        also: tuple[str, ...] = (),
        limits: Mapping[str, int] | None = None,
        clock: float = 0.0,
    ) -> Outcome:
        """Run a command and return what came of it, after all of its processes have ended.

        Args:
            arguments: Its arguments.
            decide: Called with the number of a call, from 1, the call, and the main process. None lets all happen, and
                none is seen.
            also: Names of further calls to see, such as those of :data:`FORKS`.
            limits: Limits of the process, by their names in the module ``resource``; ``RLIMIT_AS`` beyond what it has.
            clock: Seconds that its clock is ahead.
        """
        place = Path(self._place.name)
        request = {
            "arguments": arguments,
            "environment": {**_inherited(), **self._environment, "PYTHONPATH": path_of_children()},
            "out": str(place / "out"),
            "err": str(place / "err"),
            "seen": decide is not None,
            "also": also,
            "limits": dict(limits or {}),
            "clock": clock,
        }
        self._socket.settimeout(SECONDS)
        self._socket.send(json.dumps(request).encode())
        outcome = Outcome(0, "", "")
        if decide is not None:
            answer, descriptors, _, _ = socket.recv_fds(self._socket, 100, 1)
            assert descriptors, answer.decode()
            try:
                _watch(descriptors[0], int(answer), self._root, decide, outcome.calls)
            finally:
                os.close(descriptors[0])
        outcome.code = os.waitstatus_to_exitcode(int(self._socket.recv(100)))
        outcome.out, outcome.err = ((place / name).read_text(encoding="utf-8") for name in ("out", "err"))
        return outcome


def _inherited() -> dict[str, str]:
    # No token, proxy or setting of the person who runs the tests.
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}


def _watch(
    listener: int, main: int, root: str, decide: Callable[[int, Call, int], Decision], calls: list[Call]
) -> None:
    """Answer for each call until no process is left that makes any."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    end = time.monotonic() + SECONDS
    while True:
        ready = poll.poll(1000.0)
        if time.monotonic() > end:
            end_all(main)
            raise AssertionError(f"expected an end within {SECONDS:g} s, found processes at work after {calls[-3:]}")
        if ready and ready[0][1] & select.POLLIN:
            _answer(listener, main, root, decide, calls)
        elif ready and ready[0][1] & select.POLLHUP:
            return


def _answer(
    listener: int, main: int, root: str, decide: Callable[[int, Call, int], Decision], calls: list[Call]
) -> None:
    data = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, data)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.EINTR}:  # a signal came in between
            return
        raise
    number, process, _, system_call, _, _, *arguments = _NOTIFICATION.unpack(data)
    call = _read(system_call, process, arguments)
    decision = None
    if call.name in FORKS or call.path.startswith(root):
        calls.append(call)
        decision = decide(len(calls), call, main)
    if decision == KILLED:
        return  # without an answer, or it might happen still
    answer = _ANSWER.pack(number, 0, -(decision or 0), _CONTINUE if decision is None else 0)
    # It may be gone by now.
    with contextlib.suppress(FileNotFoundError):
        fcntl.ioctl(listener, _SEND, answer)


def _read(number: int, process: int, arguments: list[int]) -> Call:
    name = _BY_NUMBER[number]
    path = ""
    # A process that is killed meanwhile has nothing to read any more.
    with contextlib.suppress(OSError):
        if name in _DESCRIPTORS:
            path = str(Path(f"/proc/{process}/fd/{arguments[_DESCRIPTORS[name]] & 0xFFFFFFFF}").readlink())
        elif name in _PATHS:
            path = _text(process, arguments[_PATHS[name]])
        elif name in _AT:
            directory, position = _AT[name]
            path = _text(process, arguments[position]) if arguments[position] else ""
            descriptor = arguments[directory] & 0xFFFFFFFF
            if not path.startswith("/"):
                base = "cwd" if descriptor == _WORKING_DIRECTORY else f"fd/{descriptor}"
                path = os.path.normpath(Path(f"/proc/{process}/{base}").readlink() / path)
    return Call(name, path, process)


def _text(process: int, address: int) -> str:
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        # To the end of its page: the next one may not exist.
        data = os.pread(memory.fileno(), 4096 - address % 4096, address)
        if b"\0" not in data:
            data += os.pread(memory.fileno(), 4096, address + len(data))
    return os.fsdecode(data.partition(b"\0")[0])


def end_all(main: int) -> Decision:
    """Kill the process of a command and all that it started, which are one session."""
    for place in Path("/proc").glob("[0-9]*"):
        # Those that end meanwhile are no concern.
        with contextlib.suppress(OSError, IndexError):
            if int((place / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[3]) == main:
                os.kill(int(place.name), signal.SIGKILL)
    return KILLED


def end_caller(call: Call) -> Decision:
    """Kill the process that makes a call."""
    os.kill(call.process, signal.SIGKILL)  # also by the number of a thread
    return KILLED


# --- the server, and the process of a command ---

_IMPORTED: Final = (
    "thoth_models_builder.oci.layout",
    "thoth_models_builder.registry.client",
    "thoth_models_builder.sources.hub",
    "thoth_models_builder.trust.signing",
    *("anyio._backends._asyncio", "cryptography.x509", "h2.connection", "httpcore2", "huggingface_hub.hf_api"),
    *("huggingface_hub.utils._http", "license_expression", "truststore"),
)
"""What commands import late, imported once for all of them."""

_FAILED: Final = 99
"""Exit code of a command whose exception came through."""


def _filter(also: list[str]) -> bytes:
    """Return the instructions that stop a process at the calls that are seen."""

    def step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    stop, go = step(0x06, 0x7FC00000), step(0x06, 0x7FFF0000)
    code = [step(0x20, 4), step(0x15, _ARCHITECTURES[_MACHINE], 1, 0), go, step(0x20, 0)]
    for name in (*_AT, *_PATHS, *_DESCRIPTORS, *also):
        if name not in _NUMBERS:
            continue
        block = [stop]
        if name in {"open", "openat"}:  # only where a file may be made or emptied
            block = [step(0x20, 16 + 8 * (1 if name == "open" else 2)), step(0x45, _CREATING, 0, 1), stop, go]
        elif name == "ioctl":
            block = [step(0x20, 16 + 8), step(0x15, _CLONE_FILE, 0, 1), stop, go]
        elif name in {"write", "writev"}:  # not to the terminal
            block = [step(0x20, 16), step(0x25, 2, 0, 1), stop, go]
        code += [step(0x15, _NUMBERS[name], 0, len(block)), *block]
    return b"".join([*code, go])


_BY_NUMBER: Final = {_NUMBERS[name]: name for name in (*_AT, *_PATHS, *_DESCRIPTORS, *FORKS) if name in _NUMBERS}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _listen(also: list[str]) -> int:
    """Install the filter for this process and all that it starts, and return the descriptor that asks."""
    libc = ctypes.CDLL(None, use_errno=True)
    data = _filter(also)
    code = ctypes.create_string_buffer(data, len(data))
    program = _Program(len(data) // 8, ctypes.addressof(code))
    libc.syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_void_p)
    listener = -1
    if libc.prctl(_PR_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0:
        # A filter (1), with a listener (8).
        listener = libc.syscall(_NUMBERS["seccomp"], 1, 8, ctypes.addressof(program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "expected a kernel that asks about system calls (seccomp, Linux 5.9)")
    return listener


def _serve(connection: socket.socket) -> None:
    from thoth_models_builder.bundle.compiler_sources import sources_digest
    from thoth_models_builder.cli.main import main
    from thoth_models_builder.pipeline import compiler_process

    for name in _IMPORTED:
        importlib.import_module(name)
    sources_digest()  # which it keeps
    compiler_process._SERVER = FAKE_SERVER  # type: ignore[misc]
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    gc.freeze()  # a fork shares what no collection goes through
    while data := connection.recv(1 << 20):
        request = json.loads(data)
        process = os.fork()
        if process == 0:
            code = _FAILED
            try:
                _become(connection, request)
                code = main(request["arguments"])
            finally:
                atexit._run_exitfuncs()
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)  # the end of an interpreter takes longer than the command
        connection.send(str(_ended(process)).encode())


def _ended(main: int) -> int:
    """Wait for a process and all that it started, whose parent this one becomes, and return how it ended."""
    status = 0
    with contextlib.suppress(ChildProcessError):
        while True:
            process, how = os.wait()
            status = how if process == main else status
    return status


def _become(connection: socket.socket, request: dict[str, Any]) -> None:
    """Make this process that of a command."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, name in ((1, "out"), (2, "err")):
        file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    if request["clock"]:
        now, now_ns, ahead = time.time, time.time_ns, request["clock"]
        time.time = lambda: now() + ahead
        time.time_ns = lambda: now_ns() + int(ahead * 1e9)
    if request["seen"]:
        listener = _listen(request["also"])
        socket.send_fds(connection, [str(os.getpid()).encode()], [listener])
        os.close(listener)
    connection.close()
    for name, value in request["limits"].items():
        used = 0
        if name == "RLIMIT_AS":
            used = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
        resource.setrlimit(getattr(resource, name), (used + value, used + value))


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as _connection:
        _serve(_connection)
