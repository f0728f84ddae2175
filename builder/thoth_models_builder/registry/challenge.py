"""Parse the challenges of registries and build the answers: HTTP Basic, and bearer tokens of a token server.

The token protocol is that of https://distribution.github.io/distribution/spec/auth/token/ and, for identity tokens,
https://distribution.github.io/distribution/spec/auth/oauth/. Pure.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from thoth_models_builder.errors import CredentialsError, RegistryError
from thoth_models_builder.net.proxies import server_address
from thoth_models_builder.oci.references import is_loopback
from thoth_models_builder.registry.token_servers import VARIABLE, is_reachable, may_get_credentials

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from thoth_models_builder.registry.credentials import Credentials

_CLIENT = "thoth-models-builder"
_PARAMETER_OR_SCHEME = re.compile(
    r'(?P<name>[A-Za-z0-9_-]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]+))|(?P<scheme>[A-Za-z][\w-]*)',
    re.ASCII,
)
_DEFAULT_SECONDS = 60.0
"""Lifetime of a token whose server does not state it, by the specification."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Challenge:
    """One authentication scheme that a registry accepts.

    Attributes:
        scheme: Name in lower case; only ``basic`` and ``bearer`` are used.
        parameters: Parameters, by name in lower case.
    """

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRequest:
    """A request to a token server.

    Attributes:
        url: Address, with the query of a GET request.
        form: Body of a POST request, or None for GET.
        headers: Headers, which may contain the password.
    """

    url: str
    form: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A bearer token and its lifetime in seconds."""

    value: str = field(repr=False)
    seconds: float


def parse_challenges(headers: Sequence[str]) -> list[Challenge]:
    """Parse the values of WWW-Authenticate headers, each of which may have several challenges."""
    challenges: list[Challenge] = []
    parameters: dict[str, str] = {}
    for match in (match for header in headers for match in _PARAMETER_OR_SCHEME.finditer(header)):
        if match["scheme"] is not None:
            parameters = {}
            challenges.append(Challenge(scheme=match["scheme"].lower(), parameters=parameters))
        else:
            value = match["plain"] if match["quoted"] is None else re.sub(r"\\(.)", r"\1", match["quoted"])
            parameters[match["name"].lower()] = value
    return challenges


def token_request(  # noqa: PLR0913 - what makes up a request
    challenge: Challenge,
    credentials: Credentials | None,
    scopes: Sequence[str],
    *,
    registry: str,
    plain_http: bool,
    named: Collection[str] = (),
) -> TokenRequest:
    """Return the request to the token server of a challenge.

    Args:
        challenge: The challenge.
        credentials: The credentials for the registry, or None.
        scopes: Scopes to request a token for.
        registry: Host and port of the registry.
        plain_http: Whether the user asked for HTTP without TLS.
        named: Hosts that the user trusts with credentials.

    Raises:
        RegistryError: The challenge has no address of a token server, or leads a public registry's client to an
            internal one.
        CredentialsError: The password would be sent without TLS although the user did not ask for plain HTTP, or to a
            host that neither belongs to the registry nor is named.
    """
    realm = challenge.parameters.get("realm", "")
    address = server_address(realm, ("http", "https"))
    if address is None or not realm.isprintable():
        raise RegistryError(
            f"{registry}: expected the address of a token server in its challenge, found {realm!r:.200}"
        )
    host = address.hostname or ""
    if not is_reachable(host, registry, named):
        raise RegistryError(f"{registry}: expected a token server with a public address, found {host!r:.200}")
    is_secret = credentials is not None and bool(credentials.basic or credentials.identity_token)
    if is_secret and address.scheme == "http" and not (plain_http or is_loopback(host)):
        raise CredentialsError(
            f"{registry}: expected a token server with https to send credentials to, found {realm!r:.200}"
        )
    if is_secret and not may_get_credentials(host, registry, named):
        raise CredentialsError(
            f"{registry}: expected a token server of this registry to send credentials to, found {host!r:.200}; "
            f"if it is the right one, name it in {VARIABLE}"
        )
    wanted = list(scopes)
    wanted += [scope for scope in challenge.parameters.get("scope", "").split() if not _is_covered(scope, wanted)]
    service = challenge.parameters.get("service")
    common = [("service", service)] if service else []
    if credentials is not None and credentials.identity_token:
        form = [
            *common,
            ("grant_type", "refresh_token"),
            ("client_id", _CLIENT),
            ("scope", " ".join(wanted)),
            ("refresh_token", credentials.identity_token),
        ]
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return TokenRequest(url=realm, form=urlencode(form).encode("ascii"), headers=headers)
    query = urlencode([*common, *(("scope", scope) for scope in wanted)])
    separator = "&" if address.query else "?"
    basic = credentials.basic if credentials is not None else ""
    return TokenRequest(
        url=f"{realm}{separator}{query}" if query else realm,
        headers={"Authorization": f"Basic {basic}"} if basic else {},
    )


def read_token(data: bytes, registry: str) -> Token:
    """Parse the answer of a token server.

    Raises:
        RegistryError: The answer has no token.
    """
    try:
        answer = json.loads(data)
        value = answer.get("token") or answer.get("access_token")
        seconds = float(answer.get("expires_in") or _DEFAULT_SECONDS)
    except (ValueError, TypeError, AttributeError, RecursionError):
        # The answer may contain the token, and the message of the parser may quote it: neither is shown.
        raise RegistryError(f"{registry}: expected a token from its token server, found something else") from None
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise RegistryError(f"{registry}: expected a token from its token server, found none")
    return Token(value=value, seconds=seconds)


def _is_covered(scope: str, wanted: Sequence[str]) -> bool:
    """Return whether the scope ``type:name:actions`` is part of the wanted ones."""
    head, _, actions = scope.rpartition(":")
    return any(
        head == other_head and set(actions.split(",")) <= set(other_actions.split(","))
        for other_head, _, other_actions in (other.rpartition(":") for other in wanted)
    )
