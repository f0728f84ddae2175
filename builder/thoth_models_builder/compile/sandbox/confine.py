"""Give up, in a forked child, whatever a model's own code must not have. Nothing of it can be taken back.

Order matters: what needs rights comes first (namespaces, another user), and the filter of system calls last.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from thoth_models_builder.compile.errors import SandboxError
from thoth_models_builder.compile.sandbox.file_access import FileAccess, library_paths
from thoth_models_builder.compile.sandbox.filter import PR_SET_NO_NEW_PRIVILEGES, install_filter

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_USER, USERS = 61184, 4336
"""Users and groups of confined processes if the builder is root, one for each run: those that systemd lends in the same
way (its dynamic users), and that own nothing."""
NOBODY: Final = 65534
"""User and group of it in a container that has not so many; others may run as that one as well."""

_KEPT: Final = frozenset(
    {
        "ATEN_CPU_CAPABILITY",
        "HF_HUB_DISABLE_TELEMETRY",
        "HF_HUB_OFFLINE",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "LD_LIBRARY_PATH",
    }
    | {"MKL_CBWR", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "ONEDNN_MAX_CPU_ISA", "ORT_DISABLE_TELEMETRY", "PATH"}
    | {"PYTHONHASHSEED", "PYTHONUTF8", "TOKENIZERS_PARALLELISM", "TRANSFORMERS_OFFLINE", "TZ"}
)
"""Environment variables that the confined process keeps."""

KEPT_DESCRIPTOR: Final = 3
"""Descriptor that stays open, besides those of input and output."""

_MEMORY_SHARE: Final = 0.8
_UNKNOWN_MEMORY: Final = 16 * 1024**3
"""Bytes of memory that are assumed where the machine does not say how much there is."""

_THREAD_BYTES: Final = 256 * 1024 * 1024
"""Address space for a thread: its stack and its part of the allocator, of which it uses little."""

PR_SET_PARENT_DEATH_SIGNAL, _PR_SET_KEEP_CAPABILITIES = 1, 8
_CAPABILITY_VERSION: Final = 0x20080522
READ_ANYWHERE: Final = 1 << 2
"""CAP_DAC_READ_SEARCH."""
_NEW_IPC, _NEW_USER, _NEW_NETWORK = 0x08000000, 0x10000000, 0x40000000


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the confined process may use.

    Attributes:
        memory: Bytes of memory, besides what it has of its parent.
        disk: Bytes of all files in its directory.
        computing: Number of threads that libraries are told to compute with.
        threads: Number of all threads.
        entries: Number of files and directories.
    """

    memory: int
    disk: int
    computing: int = 1
    threads: int = 512
    entries: int = 20_000


def memory_limit(available: int | None) -> int:
    """Return how much memory a confined process may use, of that which is available in bytes; None if it is unknown."""
    return int((available or _UNKNOWN_MEMORY) * _MEMORY_SHARE)


def confine(scratch: Path, readable: Sequence[Path], limits: Limits, parent: int, user: int) -> None:
    """Confine this process, a child of fork with a single thread.

    Args:
        scratch: The only directory that it may write; its home and temporary directory are made in it.
        readable: Places that it may read, besides the libraries.
        limits: What it may use.
        parent: The process that it must not outlive.
        user: The user and group that it becomes if it is root.

    Raises:
        SandboxError: The kernel or the machine lacks what protects from the code.
    """
    os.closerange(KEPT_DESCRIPTOR + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    _limit(limits)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(
            "1000", encoding="ascii"
        )  # if memory is short after all, this process ends, and not another one
    libraries = library_paths()
    access = FileAccess.of(readable=[*libraries, *readable], writable=scratch)
    _leave_namespaces()
    _become(user, [*libraries, *readable, scratch])
    if os.geteuid() == user != NOBODY:
        # The limit counts all processes of a user, so it is for one that is used for nothing else.
        resource.setrlimit(resource.RLIMIT_NPROC, (2 * limits.threads, 2 * limits.threads))
    _clean_environment(scratch)
    os.chdir(scratch / HOME)
    os.umask(0o077)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SandboxError("expected the process that watches over the code, found it ended")
    libc.prctl(PR_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    access.enforce()
    install_filter()


def _limit(limits: Limits) -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    # Two libraries with so many threads each, and some others.
    threads = limits.computing * 2 + 4
    memory = pages * resource.getpagesize() + limits.memory + threads * _THREAD_BYTES
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits.disk),
        (resource.RLIMIT_NOFILE, 1024),
    ):
        _, hard = resource.getrlimit(kind)
        lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (lowered, lowered))
    # A file that is too long is an error of the write, not a signal.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def _leave_namespaces() -> None:
    """Enter a network without interfaces where the kernel allows that; the filter refuses sockets in any case."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NETWORK | _NEW_IPC) and os.geteuid() != 0:
        libc.unshare(_NEW_USER | _NEW_NETWORK | _NEW_IPC)


def _become(user: int, needed: Sequence[Path]) -> None:
    """Become another user if this one is root, and give up all capabilities.

    One is kept if that user could not read ``needed`` otherwise: to read what permissions forbid, which Landlock
    restricts to the same places.
    """
    kept = 0
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_KEEP_CAPABILITIES, 1, 0, 0, 0)
        try:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        except OSError as error:
            # Only the user of a container without others is mapped to one outside, who has no rights but their own.
            if error.errno not in (errno.EINVAL, errno.EPERM):
                raise
        if os.geteuid() != 0 and not all(map(_is_readable, needed)):
            kept = READ_ANYWHERE
    if not _set_capabilities(kept):
        return
    if not kept:
        raise SandboxError("expected to give up all capabilities, found that the kernel refuses it")
    unreadable = next(path for path in needed if not _is_readable(path))
    raise SandboxError(
        f"{unreadable}: expected a directory that every user may read, because the model's code does not run as "
        "root, found one that is private; run the builder as a user without privileges, or move the directory"
    )


def _set_capabilities(kept: int) -> int:
    """Give up all capabilities but those, and return whether the kernel refuses that, as a number other than 0."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    return int(ctypes.CDLL(None, use_errno=True).capset(header, struct.pack("=6I", kept, kept, 0, 0, 0, 0)))


def _is_readable(path: Path) -> bool:
    return os.access(path, os.R_OK) and (not path.is_dir() or os.access(path, os.X_OK))


def _clean_environment(scratch: Path) -> None:
    home = str(scratch / HOME)
    kept = {name: value for name, value in os.environ.items() if name in _KEPT}
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update({"HOME": home, "TMPDIR": home, "HF_HOME": home, "XDG_CACHE_HOME": home, "USER": "nobody"})


HOME: Final = "home"
"""Directory below the scratch directory that the confined process has as its home; nothing is taken from it."""
