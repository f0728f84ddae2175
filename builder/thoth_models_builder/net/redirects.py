"""Where a server may send us on to. Pure.

A redirect is an answer of a stranger that decides where the next request goes. It must not take TLS away, and must not
reach into the network of the machine: to other services of this computer, to those beside it, or to the metadata of a
cloud. Servers that are in that network themselves may do so. Names are not looked up, which is the proxy's task where
there is one; whatever is fetched is compared with its digest.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx2


def refused_redirect(response: httpx2.Response) -> str | None:
    """Return why a redirect is not followed, as what was expected and found; None for any other answer."""
    if not response.has_redirect_location:
        return None
    before = response.request.url
    after = before.join(response.headers["Location"])
    if before.scheme == "https" and after.scheme == "http":
        return f"expected {before.host} to redirect to https, found a redirect to http at {after.host}"
    if is_internal(after.host) and not is_internal(before.host):
        return f"expected {before.host} to redirect to a public address, found a redirect to {after.host}"
    return None


def is_internal(host: str) -> bool:
    """Return whether a host is this computer, or an address of a network that is not public."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
