"""Deterministic tar headers: each byte depends only on the entry and the given time. Pure.

By POSIX.1-2001 (pax): plain ``ustar`` headers, preceded by an extended header only where a path is longer than 100
bytes or not ASCII, or a file has 8 GiB or more. Everything that would depend on the machine or the user is a constant:
owner 0:0 without names, no devices, no times but the given one. :mod:`tarfile` is not used, because its bytes have
changed between versions of Python, while digests of layers must not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK: Final = 512
FILE_MODE: Final = 0o444
DIRECTORY_MODE: Final = 0o555

END: Final = bytes(2 * BLOCK)
"""The end of an archive."""

LATEST_TIME: Final = 8**11 - 1
"""Largest time, in seconds since 1970, that fits a header: a day in the year 2242."""

_MAX_NAME_LENGTH = 100
_MAX_SIZE = 8**11 - 1
_FILE, _DIRECTORY, _EXTENDED = b"0", b"5", b"x"
_EXTENDED_NAME = b"././@PaxHeader"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file or a directory of an archive.

    Attributes:
        path: Relative, with ``/`` between its parts and none at its end.
        size: Length in bytes; None for a directory.
        mode: Permissions.
    """

    path: str
    size: int | None
    mode: int

    @property
    def packed_size(self) -> int:
        """Length of the entry in an archive, in bytes: headers, content and padding."""
        extended = _records(self)
        length = BLOCK + (BLOCK + len(extended) + _missing(len(extended)) if extended else 0)
        return length + (self.size or 0) + _missing(self.size or 0)


def header(entry: Entry, mtime: int) -> bytes:
    """Return the headers of an entry, which precede its content.

    Args:
        entry: The entry.
        mtime: Its time, in seconds since 1970; from 0 to :data:`LATEST_TIME`.
    """
    path, records = _path(entry), _records(entry)
    size = entry.size or 0
    plain = _header(
        name=path.encode("ascii", "replace")[:_MAX_NAME_LENGTH],
        mode=entry.mode,
        size=size if size <= _MAX_SIZE else 0,
        mtime=mtime,
        kind=_DIRECTORY if entry.size is None else _FILE,
    )
    if not records:
        return plain
    extended = _header(name=_EXTENDED_NAME, mode=FILE_MODE, size=len(records), mtime=0, kind=_EXTENDED)
    return extended + records + padding(len(records)) + plain


def padding(size: int) -> bytes:
    """Return the zeros between content of ``size`` bytes and the next header."""
    return bytes(_missing(size))


def archive_size(entries: Iterable[Entry]) -> int:
    """Return the length of an archive in bytes, without creating it."""
    return sum(entry.packed_size for entry in entries) + len(END)


def _missing(size: int) -> int:
    return -size % BLOCK


def _path(entry: Entry) -> str:
    return f"{entry.path}/" if entry.size is None else entry.path


def _records(entry: Entry) -> bytes:
    """Return the records of the extended header; empty if the entry needs no such header."""
    path, size = _path(entry).encode(), entry.size or 0
    records = b""
    if len(path) > _MAX_NAME_LENGTH or not path.isascii():
        records += _record(b"path", path)
    if size > _MAX_SIZE:
        records += _record(b"size", str(size).encode())
    return records


def _record(key: bytes, value: bytes) -> bytes:
    """Return one record, which begins with its own length in decimal."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def _header(*, name: bytes, mode: int, size: int, mtime: int, kind: bytes) -> bytes:
    fields = (
        name.ljust(_MAX_NAME_LENGTH, b"\0"),
        _octal(mode, 8),
        _octal(0, 8),  # user
        _octal(0, 8),  # group
        _octal(size, 12),
        _octal(mtime, 12),
        b" " * 8,  # the checksum, which counts itself as spaces
        kind,
        bytes(100),  # link
        b"ustar\x0000",
        bytes(64),  # names of user and group
        _octal(0, 8),  # device, major
        _octal(0, 8),  # device, minor
        bytes(155 + 12),  # prefix of the path, and what fills the block
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)
