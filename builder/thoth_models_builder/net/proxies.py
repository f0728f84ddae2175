"""Proxies that the environment names: an address that no client could use is refused before one tries.

The clients would show parts of it: where a password has a `/` that is not written as `%2F`, what comes before is taken
for host and port.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection

    from thoth_models_builder.errors import BuildError

_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_SCHEMES: Final = ("http", "https", "socks4", "socks5", "socks5h")


def refuse_malformed_proxies(kind: type[BuildError]) -> None:
    """Refuse the address of a proxy that is not one.

    Raises:
        BuildError: Of that kind; names the variable, but does not show its value, which may contain a password.
    """
    for name, value in os.environ.items():
        if name.upper() in _VARIABLES and value.strip() and not _is_address(value.strip()):
            raise kind(
                f"expected {name} to be the address of a proxy, such as http://user:password@proxy:3128, with /, ?, # "
                "and @ of a password as %2F, %3F, %23 and %40; found something else"
            )


def _is_address(value: str) -> bool:
    # As the clients read an address without a scheme.
    parts = server_address(value if "://" in value else f"http://{value}", _SCHEMES)
    return parts is not None and parts.path in ("", "/") and not parts.query and not parts.fragment


def server_address(text: str, schemes: Collection[str]) -> SplitResult | None:
    """Return the parts of the address of a server with one of these schemes; None for anything else."""
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of brackets, or a port out of range
        return None
    return parts if is_address else None
