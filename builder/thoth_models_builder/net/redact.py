"""Remove secrets from messages: tokens, passwords in addresses, and signatures in their queries. Pure."""

from __future__ import annotations

import re

_USER_INFO = re.compile(r"(?<=://)[^/\s]+@")
_QUERY = re.compile(r"(https?://[^\s?#]+)[?#]\S*")


def without_secrets(text: str, *secrets: str) -> str:
    """Return ``text`` without ``secrets``, and without user names, passwords and queries of addresses."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return _QUERY.sub(r"\1?***", _USER_INFO.sub("***@", text))
