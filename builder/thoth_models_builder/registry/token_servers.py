"""Decide which token servers may get the credentials of a registry.

The answer of a registry names its token server, and whatever gives that answer in its place could name its own. So
credentials go to the host of the registry, to the domain that it is part of, to what is documented for it, and to hosts
that the user names. Without credentials, any public token server may be asked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from thoth_models_builder.net.redirects import is_internal
from thoth_models_builder.oci.references import DOCKER_HUB, host_of, is_loopback

if TYPE_CHECKING:
    from collections.abc import Collection

VARIABLE: Final = "THOTH_TOKEN_SERVERS"

_DOCUMENTED: Final = {DOCKER_HUB: "auth.docker.io"}
"""Token servers outside of the domain of a registry, from https://docs.docker.com/reference/api/registry/auth/."""


def named_token_servers() -> frozenset[str]:
    """Return the hosts that the user trusts with credentials, in lower case; a comma is between them."""
    return frozenset(filter(None, (host.strip().lower() for host in os.environ.get(VARIABLE, "").split(","))))


def may_get_credentials(host: str, registry: str, named: Collection[str]) -> bool:
    """Return whether a token server may get the credentials of a registry.

    Args:
        host: Host of the token server, without its port.
        registry: Host and port of the registry.
        named: Hosts that the user names.
    """
    host, own = host.lower().rstrip("."), host_of(registry).lower()
    if host in named or host == own or host == _DOCUMENTED.get(registry):
        return True
    if is_internal(own) or is_internal(host):
        return is_loopback(own) and is_loopback(host)
    # Who has a domain has the hosts in it, but not the other way round: some have a host there for each customer.
    return "." in host and own.endswith(f".{host}")


def is_reachable(host: str, registry: str, named: Collection[str]) -> bool:
    """Return whether a token server may be asked at all: one in our own network only by a registry that is there."""
    return host.lower() in named or not is_internal(host) or is_internal(host_of(registry))
