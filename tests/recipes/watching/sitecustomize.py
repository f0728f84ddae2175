"""Imported by every interpreter that has this directory on its path: refuses and writes down what leaves the machine.

Workers that a framework starts inherit the path, so they are watched as well. ``CONNECTIONS_FILE`` gets a line for each
process, and one for each connection and lookup that is not of this machine. Native code raises no audit event.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys

_EVENTS = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"}
_FILE = os.environ.get("CONNECTIONS_FILE", "")
_OWN_NAMES = {"", "localhost", "0.0.0.0", socket.gethostname()}  # noqa: S104 - compared, not listened at


def _write(line: str) -> None:
    descriptor = os.open(_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def _is_here(host: object) -> bool:
    """Return whether it is a name or an address of this machine: one of its addresses is one that a socket can bind."""
    name = host.decode(errors="replace") if isinstance(host, bytes) else str(host or "")
    if name in _OWN_NAMES:
        return True
    try:
        version = ipaddress.ip_address(name).version
        with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as own:
            own.bind((name, 0))
    except (OSError, ValueError):
        return False
    return True


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event not in _EVENTS:
        return
    first, last = arguments[0], arguments[1] if len(arguments) > 1 else None
    if isinstance(first, socket.socket):
        if first.family not in (socket.AF_INET, socket.AF_INET6) or last is None:
            return
        host = last[0] if isinstance(last, tuple) else last
    else:
        host = first
    if _is_here(host):
        return
    _write(f"{event} {host}")
    raise PermissionError(f"{event} {host}: connections to other machines are forbidden here")


if _FILE:
    # Native code raises no audit event: servers that find no uvloop take Python's own event loop.
    sys.modules["uvloop"] = None  # type: ignore[assignment]
    _write(f"watching {os.getpid()}")
    sys.addaudithook(_watch)
