"""Remove secrets from messages: tokens, passwords in addresses, and signatures in their queries.

Some are known where a message is made; the others are in the environment: in the addresses of proxies, indexes and
endpoints, and in variables that are named after them.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HIDDEN: Final = "***"

# Up to the last @ of the word: a password may have any character, whether it should or not.
_USER_INFO: Final = re.compile(r"(?<=://)[^\s'\"<>]*@")
_QUERY: Final = re.compile(r"(https?://[^\s?#]+)[?#]\S*")

_NAMES: Final = re.compile(r"(TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIALS?|(API|ACCESS|PRIVATE)_?KEY)$", re.IGNORECASE)
"""Endings of the names of variables that hold a secret."""

_LEAST: Final = 6
"""Shortest secret that is looked for: a shorter one is part of ordinary words."""

_PATH_TOKEN: Final = re.compile(r"(?=[^/]*[0-9])(?=[^/]*[A-Za-z])[\w.~-]{16,}", re.ASCII)
"""Part of a path that is a token, as addresses of private indexes have it."""


def without_secrets(text: str, *secrets: str) -> str:
    """Return ``text`` without secrets, and without user names, passwords and queries of addresses.

    Args:
        text: A message.
        secrets: Secrets that are known where it is made; those of the environment are removed as well.
    """
    return _QUERY.sub(rf"\1?{_HIDDEN}", _USER_INFO.sub(f"{_HIDDEN}@", without_stated_secrets(text, *secrets)))


def without_stated_secrets(text: str, *secrets: str) -> str:
    """Return ``text`` without ``secrets`` and those of the environment; addresses stay as they are otherwise."""
    # The longest first: one may be part of another.
    for secret in sorted({*secrets, *stated_secrets(os.environ)}, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text


def stated_secrets(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the secrets in environment variables, also in the form that an address writes them in."""
    found = {secret.strip() for name, value in environment.items() for secret in _secrets_of(name, value)}
    return frozenset(secret for secret in found if len(secret) >= _LEAST)


def _secrets_of(name: str, value: str) -> Iterator[str]:
    if _NAMES.search(name) and "://" not in value and not value.startswith("/"):
        yield value
    # Several addresses may stand in one variable, as in PIP_EXTRA_INDEX_URL.
    for address in value.split() if "://" in value else ():
        rest = address.partition("://")[2]
        user_info, at, place = rest.rpartition("@")
        if at:
            for part in (user_info, user_info.partition(":")[2]):
                yield part
                yield unquote(part)
        for part in place.split("?")[0].split("/")[1:]:
            if _PATH_TOKEN.fullmatch(part):
                yield part
