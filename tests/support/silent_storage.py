"""A storage that stops answering: a directory seen through a file system of ours, in which one file is never read.

What a network volume does when its server is gone. The kernel's FUSE protocol, as far as reading a tree needs it:
https://docs.kernel.org/filesystems/fuse/index.html and include/uapi/linux/fuse.h. It runs in a process of its own, the
end of which ends every read that waits for it.

``python silent_storage.py SOURCE MOUNTPOINT SUFFIX [direct]``: files whose paths end with SUFFIX never answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_DEVICE = "/dev/fuse"
_LAZILY = 2  # MNT_DETACH: also while somebody waits in it
_LOOKUP, _GETATTR, _OPEN, _READ, _INIT, _OPENDIR, _READDIR = 1, 3, 14, 15, 26, 27, 28
_ENDINGS = (18, 25, 29, 34)  # RELEASE, FLUSH, RELEASEDIR, ACCESS: nothing to do
_UNANSWERED = (2, 36, 42)  # FORGET, INTERRUPT, BATCH_FORGET
_HEADER = struct.Struct("<IIQQ")
_MAX_REQUEST_SIZE = 2 * 1024 * 1024
_SETTINGS = struct.pack("<4I2H2I2H2I", 7, 31, 1 << 20, 1 | 1 << 5 | 1 << 22, 64, 48, 1 << 20, 1, 256, 0, 0, 0) + bytes(
    24
)
"""Version 7.31, with large reads, several at once."""

_DIRECT = 1
"""Flag of an answer to OPEN: the pages of this file are not kept, as on mounts of object stores."""


def why_not() -> str | None:
    """Return why there can be no such storage here, or None."""
    if sys.platform != "linux" or not os.access(_DEVICE, os.R_OK | os.W_OK):
        return f"{_DEVICE} is not there for us"
    return None if os.geteuid() == 0 else "only root may mount"


@contextlib.contextmanager
def mounted(source: Path, place: Path, *, silent: str = "nothing", direct: bool = False) -> Iterator[Path]:
    """Yield ``source`` as seen through it, at ``place``; files whose paths end with ``silent`` never answer."""
    place.mkdir()
    command = [sys.executable, __file__, str(source), str(place), silent, *(["direct"] if direct else [])]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        said = server.stdout.readline()
        assert said == "mounted\n", f"the storage ended: {said}"
        yield place
    finally:
        server.kill()  # reads that wait fail then
        server.communicate()
        ctypes.CDLL(None).umount2(os.fsencode(place), _LAZILY)
        deadline = time.monotonic() + 10
        while place.is_mount() and time.monotonic() < deadline:
            time.sleep(0.01)


class _Storage:
    """Answers the kernel."""

    def __init__(self, device: int, source: str, silent: str, *, direct: bool) -> None:
        self._device = device
        self._silent = silent
        self._open_flags = _DIRECT if direct else 0
        self._paths = {1: source}
        self._numbers = {source: 1}

    def serve(self) -> None:
        while True:
            try:
                message = os.read(self._device, _MAX_REQUEST_SIZE)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT):
                    continue
                return
            _, operation, unique, number = _HEADER.unpack_from(message)
            body = message[40:]
            threading.Thread(target=self._handle, args=(operation, unique, number, body), daemon=True).start()

    def _handle(self, operation: int, unique: int, number: int, body: bytes) -> None:
        try:
            answer = self._answer(operation, self._paths.get(number, ""), body)
        except OSError as error:
            self._reply(unique, b"", error.errno or errno.EIO)
        else:
            if answer is not None:
                self._reply(unique, answer)

    def _answer(self, operation: int, path: str, body: bytes) -> bytes | None:
        if operation in _UNANSWERED:
            return None
        if operation in _ENDINGS:
            return b""
        answers: dict[int, Callable[[], bytes | None]] = {
            _INIT: lambda: _SETTINGS,
            _LOOKUP: lambda: self._lookup(path, os.fsdecode(body.split(b"\0")[0])),
            _GETATTR: lambda: struct.pack("<Q2I", 1, 0, 0) + self._attributes(path),
            _OPEN: lambda: struct.pack("<Q2I", 0, self._open_flags, 0),
            _OPENDIR: lambda: struct.pack("<Q2I", 0, 0, 0),
            _READ: lambda: self._read(path, *struct.unpack_from("<QQI", body)[1:]),
            _READDIR: lambda: self._entries(path, *struct.unpack_from("<QQI", body)[1:]),
        }
        if operation not in answers:
            raise OSError(errno.ENOSYS, "not here")
        return answers[operation]()

    def _lookup(self, path: str, name: str) -> bytes:
        found = os.path.join(path, name)  # noqa: PTH118 - names of the kernel's
        attributes = self._attributes(found)
        return struct.pack("<4Q2I", self._number(found), 0, 1, 1, 0, 0) + attributes

    def _read(self, path: str, offset: int, size: int) -> bytes | None:
        if path.endswith(self._silent):
            return None
        with open(path, "rb") as file:  # noqa: PTH123
            file.seek(offset)
            return file.read(size)

    def _entries(self, path: str, offset: int, size: int) -> bytes:
        found = b""
        for index, name in enumerate(sorted(os.listdir(path))[offset:], offset):  # noqa: PTH208
            entry = os.path.join(path, name)  # noqa: PTH118
            encoded = os.fsencode(name)
            kind = stat.S_IFMT(os.lstat(entry).st_mode) >> 12
            packed = struct.pack("<QQII", self._number(entry), index + 1, len(encoded), kind) + encoded
            packed += bytes(-len(packed) % 8)
            if len(found) + len(packed) > size:
                break
            found += packed
        return found

    def _number(self, path: str) -> int:
        if path not in self._numbers:
            self._numbers[path] = len(self._numbers) + 1
            self._paths[self._numbers[path]] = path
        return self._numbers[path]

    def _attributes(self, path: str) -> bytes:
        found = os.lstat(path)
        times = (int(found.st_atime), int(found.st_mtime), int(found.st_ctime))
        numbers = (self._number(path), found.st_size, found.st_blocks, *times, 0, 0, 0)
        return struct.pack("<6Q10I", *numbers, found.st_mode, found.st_nlink, 0, 0, 0, 4096, 0)

    def _reply(self, unique: int, data: bytes, error: int = 0) -> None:
        with contextlib.suppress(OSError):  # nobody waits for it any more
            os.write(self._device, struct.pack("<IiQ", 16 + len(data), -error, unique) + data)


def _main(source: str, place: str, silent: str, *more: str) -> None:
    device = os.open(_DEVICE, os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"thoth-silent", os.fsencode(place), b"fuse", 0, options.encode()) != 0:
        print(os.strerror(ctypes.get_errno()), flush=True)  # noqa: T201
        return
    print("mounted", flush=True)  # noqa: T201
    _Storage(device, source, silent, direct="direct" in more).serve()


if __name__ == "__main__":
    _main(*sys.argv[1:])
