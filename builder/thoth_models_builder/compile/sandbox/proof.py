"""Prove the confinement from inside, right before a model's own code runs: each attempt has to be refused.

A kernel, a container or a change of this program that leaves one door open makes the build fail here.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from thoth_models_builder.compile.errors import SandboxError
from thoth_models_builder.compile.sandbox.confine import READ_ANYWHERE

if TYPE_CHECKING:
    from collections.abc import Callable


def prove_confinement(outside: Path, parent: int) -> None:
    """Try what the confined process must not do; afterwards, :func:`is_confined` says that it was refused.

    Args:
        outside: A directory of the builder that the process must neither read nor write.
        parent: Id of the process that watches over this one.

    Raises:
        SandboxError: Something was not refused; the message says what.
    """
    attempts: dict[str, Callable[[], None]] = {
        "connect to the network": lambda: _connect(socket.AF_INET, ("127.0.0.1", 9)),
        "connect to a local socket": lambda: _connect(socket.AF_UNIX, str(outside / "socket")),
        "write outside of its directory": lambda: _write(outside / f"{_PROBE}-{os.getpid()}"),
        "read outside of its directory": lambda: _list(outside),
        "read the environment of another process": lambda: _read(f"/proc/{parent}/environ"),
        "start a process": _fork,
        "run a program": lambda: os.execv("/nonexistent/program", ["program"]),  # noqa: S606 - refused before a look-up
        "signal another process": lambda: os.kill(parent, 0),
    }
    if done := [what for what, attempt in attempts.items() if not _is_refused(attempt)]:
        raise SandboxError(f"expected the sandbox to refuse to {' and to '.join(done)}, found that it does not")
    with Path("/proc/self/status").open(encoding="ascii", errors="replace") as file:
        status = dict(line.split(":", 1) for line in file)
    held = int(status["CapEff"], 16) | int(status["CapPrm"], 16)
    if held & ~READ_ANYWHERE:
        raise SandboxError(f"expected a process without capabilities, found {held:#x}")
    _proved.add(os.getpid())


def is_confined() -> bool:
    """Return whether this process has been proved to be confined."""
    return os.getpid() in _proved


_PROBE: Final = "probe"
_proved: Final[set[int]] = set()
"""The id of this process once the proof has succeeded."""


def _is_refused(attempt: Callable[[], None]) -> bool:
    try:
        attempt()
    except PermissionError:
        return True
    except OSError:
        # Such as a program that does not exist: it was looked for.
        return False
    return False


def _connect(family: int, address: tuple[str, int] | str) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as made:
        made.settimeout(1)
        made.connect(address)


def _write(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(descriptor)
    with suppress(OSError):
        path.unlink()


def _list(directory: Path) -> None:
    os.listdir(directory)  # noqa: PTH208 - the call itself is what is tried


def _read(path: str) -> None:
    os.close(os.open(path, os.O_RDONLY))


def _fork() -> None:
    if (child := os.fork()) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
    os.waitpid(child, 0)
