"""Which files the confined process may read and write (Landlock), by the directories that they are in.

A path below a directory that is not listed cannot be opened, whatever its permissions and owner are. What Landlock does
not cover (permissions, owners, times and attributes) is covered by :mod:`.filter`.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from thoth_models_builder.compile.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterable

_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""Numbers of the three system calls, on every machine."""
_ASK_VERSION: Final = 1
_BENEATH: Final = 1

_WRITE_FILE, _READ_FILE, _READ_DIRECTORY = 1 << 1, 1 << 2, 1 << 3
_MOVE, _TRUNCATE = 1 << 13, 1 << 14
_READ: Final = _READ_FILE | _READ_DIRECTORY
_FILE: Final = _READ_FILE | _WRITE_FILE | _TRUNCATE
"""Rights that a rule for a single file may have."""
_WRITE: Final = _READ | _WRITE_FILE | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | _MOVE | _TRUNCATE
"""Read, write, remove and make files and directories, and move and shorten them; nothing else, such as sockets."""

_HANDLED: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""Rights that exist, by the version that added the last of them."""
_TCP: Final = 0b11
"""From the fourth version on: to bind and to connect TCP sockets."""
_OUTSIDE: Final = 0b11
"""From the sixth version on: to reach abstract Unix sockets and to signal processes outside."""

_SYSTEM: Final = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system", "/dev/urandom"),
)
"""What libraries read of the system: themselves, time zones, and the description of the machine."""
_PACKAGES: Final = ("thoth_models", "thoth_models_builder")
_DEVICES: Final = ("/dev/null",)


class FileAccess:
    """The rules for a process, made before it gives up its rights, and enforced afterwards.

    Raises:
        SandboxError: The kernel has no Landlock, or it is switched off.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        version = self._library.syscall(_CREATE, None, ctypes.c_size_t(0), _ASK_VERSION)
        if version < 1:
            reason = os.strerror(ctypes.get_errno())
            raise SandboxError(
                "expected a kernel that confines files to directories (Landlock: Linux 5.13 or later, with "
                f"`landlock` among the security modules that it was started with), found: {reason}"
            )
        self._handled = max(rights for since, rights in _HANDLED.items() if since <= version)
        attributes = struct.pack("=QQQ", self._handled, _TCP if version >= 4 else 0, _OUTSIDE if version >= 6 else 0)  # noqa: PLR2004
        size = 8 if version < 4 else 16 if version < 6 else 24  # noqa: PLR2004 - versions of the structure
        self._rules = self._called(_CREATE, attributes, ctypes.c_size_t(size), 0)

    @classmethod
    def of(cls, *, readable: Iterable[Path], writable: Path) -> Self:
        """Return the rules for a process that may read some places, and write one directory.

        Paths that do not exist are left out.
        """
        access = cls()
        for path in (*map(Path, _SYSTEM), *readable):
            access._allow(path, _READ)
        for device in _DEVICES:
            access._allow(Path(device), _READ_FILE | _WRITE_FILE)
        access._allow(writable, _WRITE)
        return access

    def enforce(self) -> None:
        """Enforce the rules for this process and its future threads; it must not be able to gain privileges."""
        self._called(_RESTRICT, self._rules, 0)
        os.close(self._rules)

    def _allow(self, path: Path, rights: int) -> None:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        try:
            kept = rights & self._handled & (-1 if stat.S_ISDIR(os.fstat(place).st_mode) else _FILE)
            self._called(_ADD, self._rules, _BENEATH, struct.pack("=Qi", kept, place), 0)
        finally:
            os.close(place)

    def _called(self, number: int, *arguments: object) -> int:
        result: int = self._library.syscall(number, *arguments)
        if result < 0:
            raise SandboxError(
                f"expected Landlock to confine files, found the error: {os.strerror(ctypes.get_errno())}"
            )
        return result


def library_paths() -> list[Path]:
    """Return the directories of libraries that this interpreter imports from, and of the packages of this project.

    Other entries of ``sys.path``, such as a checkout, may contain anything, and are left out.
    """
    schemes = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    prefixes = [f"{prefix}/{name}" for prefix in {sys.prefix, sys.base_prefix} for name in ("lib", "lib64")]
    libraries = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages", "lib-dynload")]
    specs = [spec for name in _PACKAGES if (spec := find_spec(name)) is not None]
    own = [place for spec in specs for place in spec.submodule_search_locations or ()]
    home = Path(os.path.expanduser("~")).resolve()  # noqa: PTH111 - does not fail where there is none
    found = {Path(path).resolve() for path in (*schemes, *prefixes, *libraries, *own)}
    return sorted(path for path in found if path.exists() and not home.is_relative_to(path))
