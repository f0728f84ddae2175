"""Proxies that the environment names: an address that no client could use is refused before one tries.

The clients would show parts of it: where a password has a `/` that is not written as `%2F`, what comes before is taken
for host and port.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
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
    try:
        # As the clients read an address without a scheme.
        parts = urlsplit(value if "://" in value else f"http://{value}")
        is_plain = parts.path in ("", "/") and not parts.query and not parts.fragment
        return parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0 and is_plain
    except ValueError:  # of brackets, or a port out of range
        return False
