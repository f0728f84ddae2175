"""The filter of system calls (seccomp): a program for the kernel, and its installation.

Everything that is not listed in :mod:`.system_calls` is an unknown system call to the confined process, so that
libraries fall back to older ones, and calls of later kernels are not allowed by omission.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import TYPE_CHECKING, Final

from thoth_models_builder.compile.errors import SandboxError
from thoth_models_builder.compile.sandbox.system_calls import ALLOWED, CONDITIONAL, PRETENDED, REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterable

_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32: Final = 0x40000000
"""Set in the number of calls with 32-bit pointers on x86-64, which the kernel accepts under the same architecture."""

_ALLOW: Final = 0x7FFF0000
_ERROR: Final = 0x00050000
_KILL: Final = 0x80000000

_LOAD, _EQUAL, _AT_LEAST, _HAS_BITS, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _ARCHITECTURE = 0, 4
_ARGUMENTS: Final = 16

_THREAD: Final = 0x00010000
_NAMESPACES: Final = 0x7E020000
"""Flags of ``clone`` that make namespaces."""

# Only what terminals and descriptors are asked, never what types into a terminal or sends signals.
_IOCTLS: Final = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# The name of a thread and of a mapping, and reading: not what would unmake the protection, such as the parent's death.
_PRCTLS: Final = (3, 15, 16, 23, 39, 0x53564D41)
# F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE and F_NOTIFY send signals to processes.
_FCNTLS_REFUSED: Final = (8, 10, 15, 1024, 1026)

PR_SET_NO_NEW_PRIVILEGES: Final = 38
_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def install_filter() -> None:
    """Install the filter for this process, which must have a single thread, and may not gain privileges any more.

    Raises:
        SandboxError: The kernel has no such filters, or the machine is not known.
    """
    data = program(platform.machine(), os.getpid())
    code = ctypes.create_string_buffer(data, len(data))
    filters = _Program(len(data) // 8, ctypes.addressof(code))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
    if prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(filters), 0, 0):
        reason = os.strerror(ctypes.get_errno())
        raise SandboxError(
            f"expected a kernel that filters system calls (seccomp, CONFIG_SECCOMP_FILTER), found: {reason}"
        )


def program(machine: str, process: int) -> bytes:
    """Return the instructions of the filter.

    Args:
        machine: Name of the machine as ``uname`` gives it.
        process: Id of the confined process, the only one that it may send signals to.

    Raises:
        SandboxError: The numbers of system calls on that machine are not known.
    """
    if machine not in _ARCHITECTURES:
        known = ", ".join(sorted(_ARCHITECTURES))
        raise SandboxError(f"expected one of the machines {known}, whose system calls are known, found {machine}")
    code = [_load(_ARCHITECTURE), _step(_EQUAL, _ARCHITECTURES[machine], 1, 0), _return(_KILL), _load(_NUMBER)]
    code += [_step(_AT_LEAST, _X32, 0, 1), _return(_KILL)]
    for numbers, action in ((ALLOWED, _ALLOW), (PRETENDED, _ERROR), (REFUSED, _ERROR | errno.EPERM)):
        for number in numbers[machine].values():
            code += [_step(_EQUAL, number, 0, 1), _return(action)]
    conditions = _conditions(process)
    for name, number in CONDITIONAL[machine].items():
        block = conditions[name]
        code += [_step(_EQUAL, number, 0, len(block)), *block]
    return b"".join([*code, _return(_ERROR | errno.ENOSYS)])


def _conditions(process: int) -> dict[str, list[bytes]]:
    """Return the instructions that decide about a call by its arguments; each block ends with a return."""
    own = _only(0, [process])
    return {
        # A thread of this process, but neither a process nor a namespace.
        "clone": [
            _load_argument(0),
            _step(_HAS_BITS, _NAMESPACES, 1, 0),
            _step(_HAS_BITS, _THREAD, 1, 0),
            _return(_ERROR | errno.EPERM),
            _return(_ALLOW),
        ],
        "fcntl": _except(1, _FCNTLS_REFUSED),
        "ioctl": _only(1, _IOCTLS, errno.ENOTTY),
        "kill": own,
        "tgkill": own,
        "open": _not_truncating(1),
        "openat": _not_truncating(2),
        "prctl": _only(0, _PRCTLS),
        # To read limits, not to set them: the pointer to new ones is null, in both of its halves.
        "prlimit64": [
            _load_argument(2),
            _step(_EQUAL, 0, 0, 3),
            _load_argument(2, high=True),
            _step(_EQUAL, 0, 0, 1),
            _return(_ALLOW),
            _return(_ERROR | errno.EPERM),
        ],
    }


def _not_truncating(argument: int) -> list[bytes]:
    """Refuse to truncate a file that is not opened for writing: before its third version, landlock allows that."""
    modes = [os.O_TRUNC | os.O_RDONLY, os.O_TRUNC | os.O_ACCMODE]
    return [_load_argument(argument), _step(_AND, os.O_TRUNC | os.O_ACCMODE, 0, 0), *_except(None, modes)]


def _only(argument: int, values: Iterable[int], otherwise: int = errno.EPERM) -> list[bytes]:
    allowed = [part for value in values for part in (_step(_EQUAL, value, 0, 1), _return(_ALLOW))]
    return [_load_argument(argument), *allowed, _return(_ERROR | otherwise)]


def _except(argument: int | None, values: Iterable[int]) -> list[bytes]:
    refused = [part for value in values for part in (_step(_EQUAL, value, 0, 1), _return(_ERROR | errno.EPERM))]
    return [*([] if argument is None else [_load_argument(argument)]), *refused, _return(_ALLOW)]


def _step(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _load(offset: int) -> bytes:
    return _step(_LOAD, offset, 0, 0)


def _load_argument(index: int, *, high: bool = False) -> bytes:
    return _load(_ARGUMENTS + 8 * index + 4 * high)


def _return(action: int) -> bytes:
    return _step(_RETURN, action, 0, 0)
