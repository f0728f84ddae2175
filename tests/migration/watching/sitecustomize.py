"""Imported by every interpreter that has this directory on its path: writes down connections, or forbids them.

``CONNECTIONS_FILE`` gets a line for each process that is watched, and for each connection or lookup that one tries, but
for those to the ports in ``CONNECTIONS_WANTED`` on this computer. ``CONNECTIONS=forbidden`` makes the others an error.
The process of pytest is not watched: it is the client of the service.
"""

from __future__ import annotations

import os
import socket
import sys

_EVENTS = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"}
_FILE = os.environ.get("CONNECTIONS_FILE", "")
_IS_FORBIDDEN = os.environ.get("CONNECTIONS") == "forbidden"
_WANTED = {int(port) for port in os.environ.get("CONNECTIONS_WANTED", "").split(",") if port}


def _write(line: str) -> None:
    descriptor = os.open(_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def _is_wanted(event: str, arguments: tuple[object, ...]) -> bool:
    if event == "socket.getaddrinfo":
        # The own address, to listen on it or as a number: nothing is asked for that.
        return arguments[0] in (None, "", "127.0.0.1", b"127.0.0.1")
    address = arguments[-1]
    return isinstance(address, tuple) and address[0] == "127.0.0.1" and address[1] in _WANTED


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event not in _EVENTS or getattr(arguments[0], "family", None) == socket.AF_UNIX or _is_wanted(event, arguments):
        return
    _write(f"{event} {arguments!r} {os.getpid()}")
    if _IS_FORBIDDEN:
        raise PermissionError(f"{event}: connections are forbidden here")


if _FILE and "pytest" not in sys.orig_argv:
    # Native code raises no audit event: servers that find this one take Python's own event loop instead.
    sys.modules["uvloop"] = None  # type: ignore[assignment]
    _write(f"watching {sys.orig_argv[1:]} {os.getpid()}")
    sys.addaudithook(_watch)
