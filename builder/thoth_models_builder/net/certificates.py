"""The certificates that HTTPS servers are checked with, and what to say of a server that they do not cover.

The HTTP client reads ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``. Machines behind a proxy of their organisation often set
only what pip, requests and curl read, so those variables count here as well.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

_OWN: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_OTHERS: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def adopt_certificates() -> None:
    """Set the variable of the HTTP client from ``REQUESTS_CA_BUNDLE`` or ``CURL_CA_BUNDLE``, unless it is set."""
    if any(os.environ.get(name) for name in _OWN):
        return
    for name in _OTHERS:
        if place := os.environ.get(name):
            os.environ["SSL_CERT_DIR" if Path(place).is_dir() else "SSL_CERT_FILE"] = place
            return


def is_tls_error(error: BaseException | None, kind: type[ssl.SSLError] = ssl.SSLError) -> bool:
    """Return whether an error comes from TLS, such as a server without TLS; or from TLS errors of one kind."""
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


def certificate_advice(error: BaseException | None) -> str:
    """Return, in parentheses, which variable decides what is trusted; an empty string for an error of another kind."""
    if not is_tls_error(error, ssl.SSLCertVerificationError):
        return ""
    return named_certificates() or f" (for certificates of your own, such as a proxy's: set {_OTHERS[0]} or {_OWN[0]})"


def named_certificates() -> str:
    """Return, in parentheses, the variable that names the trusted certificates and its value; empty if none does."""
    named = next((name for name in (*_OWN, *_OTHERS) if os.environ.get(name)), None)
    if named is None:
        return ""
    # What another variable named was adopted.
    origin = next((name for name in _OTHERS if os.environ.get(name) == os.environ[named]), named)
    return f" ({origin} is {os.environ[named]})"
