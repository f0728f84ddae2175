"""Authenticated requests to one registry; every wait is bounded.

The only module of this package that imports the HTTP client. It uses asyncio, where a deadline ends any wait: timeouts
of HTTP clients apply to single operations, and a server that sends a byte now and then never exceeds them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from typing import TYPE_CHECKING, Self, TypeVar

import httpx2

from thoth_models_builder.errors import CredentialsError, RegistryError, RegistryUnreachableError
from thoth_models_builder.net.body import BEGINNING, found_instead, read_body
from thoth_models_builder.net.certificates import (
    adopt_certificates,
    certificate_advice,
    is_tls_error,
    named_certificates,
)
from thoth_models_builder.net.proxies import refuse_malformed_proxies
from thoth_models_builder.net.redact import without_secrets
from thoth_models_builder.net.redirects import refused_redirect
from thoth_models_builder.net.retry import RepeatError, RetryableError, retried, retry_after
from thoth_models_builder.oci.references import DOCKER_HUB, is_loopback
from thoth_models_builder.registry.challenge import Challenge, parse_challenges, read_token, token_request
from thoth_models_builder.registry.credentials import find_credentials
from thoth_models_builder.registry.limits import Limits
from thoth_models_builder.registry.token_servers import named_token_servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence

    from thoth_models_builder.errors import BuildError
    from thoth_models_builder.registry.credentials import Credentials

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
_DOCKER_HUB_HOST = "registry-1.docker.io"
_MAX_REDIRECTS = 10
_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_OK, _UNAUTHORIZED, _FORBIDDEN = 200, 401, 403
_RETRYABLE = {408, 425, 429, 500, 502, 503, 504}
_MAX_ANSWER_SIZE = 64 * 1024
_MAX_REASON_LENGTH = 300
_EARLY = 0.8
"""Share of the lifetime of a token after which the next request fetches a new one."""


Response = httpx2.Response
"""An answer; its body is read with :meth:`Session.read`, or piece by piece."""


class Session:
    """A session with one registry.

    Args:
        registry: Host and port.
        scopes: Scopes to request tokens for, such as ``repository:acme/app:pull,push``.
        optional_scopes: Scopes that the registry may refuse.
        plain_http: Whether to use plain HTTP; None for registries on this computer only.
        limits: Bounds on every wait.
    """

    def __init__(
        self,
        registry: str,
        *,
        scopes: Sequence[str],
        optional_scopes: Sequence[str] = (),
        plain_http: bool | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.registry = registry
        self.limits = limits or Limits()
        self._plain_http = is_loopback(registry) if plain_http is None else plain_http
        self._is_plain_asked_for = plain_http is True
        host = _DOCKER_HUB_HOST if registry == DOCKER_HUB else registry
        self._base = f"{'http' if self._plain_http else 'https'}://{host}/v2/"
        self._scopes = list(scopes)
        self._optional_scopes = list(optional_scopes)
        self._credentials: Credentials | None = None
        self._challenge: Challenge | None = None
        self._authorization: str | None = None
        self._authorized_until = 0.0
        self._authorizing = asyncio.Lock()
        self._token_secrets: list[str] = []

    async def __aenter__(self) -> Self:
        """Find the credentials and the authentication scheme of the registry."""
        self._credentials = find_credentials(self.registry)
        limits = self.limits
        timeout = httpx2.Timeout(limits.read, connect=limits.connect, write=limits.write)
        adopt_certificates()
        refuse_malformed_proxies(RegistryError)
        try:
            self._client = httpx2.AsyncClient(
                timeout=timeout,
                max_redirects=_MAX_REDIRECTS,
                # As the clients in Go: proxies of the environment are not used for this computer.
                mounts={f"all://{host}": None for host in _LOOPBACK_HOSTS},
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=limits.concurrency),
                # identity: the digest is that of the blob, not of a compressed form of it.
                headers={"Accept-Encoding": "identity", "User-Agent": "thoth-models-builder"},
                event_hooks={"response": [self._check_redirect]},
            )
            self._origin = httpx2.URL(self._base).origin
        except (ValueError, ImportError, OSError, httpx2.InvalidURL) as error:
            found = f"{without_secrets(str(error), *self._secrets)}{named_certificates()}"
            raise RegistryError(
                f"{self.registry}: expected proxies and certificates as the environment names them, found {found}"
            ) from None
        try:
            await self.retried(self._ping)
        except BaseException:
            await self._client.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def retried(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Await attempts within the limits of this session; see :func:`thoth_models_builder.net.retry.retried`."""
        return await retried(attempt, self.limits, RegistryError, RegistryUnreachableError)

    @contextlib.asynccontextmanager
    async def exchange(  # noqa: PLR0913 - what makes up a request
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
        read_seconds: float | None = None,
        is_optional: bool = False,
    ) -> AsyncIterator[httpx2.Response]:
        """Send one request and yield the answer before its body is read.

        Args:
            method: HTTP method; redirects are followed for GET and HEAD.
            target: An address, or a path below ``/v2/``.
            headers: Headers in addition to those of every request.
            content: The body. An iterator can be sent only once, so a challenge for it raises RepeatError.
            read_seconds: Longest silence before the answer, where it differs from the usual limit.
            is_optional: Whether a refusal is a valid answer, for which no new token is fetched.

        Raises:
            RetryableError: The registry did not answer, or asks to try again.
            CredentialsError: The registry rejects the credentials, or requires some.
        """
        url = self._url(target)
        for is_last in (False, True):
            used = await self._authorize(url)
            response = await self._send(method, url, {**(headers or {}), **used}, content, read_seconds)
            try:
                is_challenge = response.status_code == _UNAUTHORIZED and response.url.origin == self._origin
                if is_challenge and not is_last and not (is_optional and used):
                    await self._challenged(response, used)
                    if content is not None and not isinstance(content, bytes):
                        raise RepeatError(f"{self.registry}: expected a valid token, found it expired")
                    continue
                if response.status_code in _RETRYABLE:
                    reason = await self.reason(response)
                    raise RetryableError(f"{self._what(method, url)}, {reason}", after=retry_after(response.headers))
                yield response
            except httpx2.HTTPError as error:
                # While the caller read the body.
                raise self._transport_error(method, url, error) from None
            finally:
                await response.aclose()
            return

    async def read(self, response: httpx2.Response, max_size: int = _MAX_ANSWER_SIZE) -> bytes:
        """Return the body of an answer.

        Raises:
            RegistryError: It is longer than ``max_size`` bytes, or encoded.
        """
        return await read_body(response, max_size, lambda message: RegistryError(f"{self.registry}: {message}"))

    async def reason(self, response: httpx2.Response) -> str:
        """Return the status of an answer and the error message of the registry."""
        found = f"found HTTP status {response.status_code}"
        try:
            data = await self.read(response)
        except (RegistryError, httpx2.HTTPError):
            data = b""
        # Without a body, as in answers to HEAD, the header of an error has to do.
        if (instead := found_instead(response, data[:BEGINNING] or None)) is not None:
            return f"{found} and {instead}"
        try:
            errors = json.loads(data)["errors"]
            words = "; ".join(f"{error.get('code')}: {error.get('message')}" for error in errors)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return found
        shown = "".join(character if character.isprintable() else " " for character in words)
        return f"{found} ({without_secrets(shown, *self._secrets)[:_MAX_REASON_LENGTH]})"

    async def refusal(
        self, response: httpx2.Response, expected: str, absent: type[BuildError] = RegistryError
    ) -> BuildError:
        """Return the error for an unexpected answer; ``absent`` is its class for status 404."""
        message = f"{self.registry}: expected {expected}, {await self.reason(response)}"
        if response.status_code in {_UNAUTHORIZED, _FORBIDDEN}:  # also with a page, which proxies of registries send
            shown = "the credentials of the Docker configuration" if self._credentials else "no credentials"
            return CredentialsError(f"{message}, with {shown}")
        return (absent if response.status_code == httpx2.codes.NOT_FOUND else RegistryError)(message)

    def location(self, response: httpx2.Response) -> str:
        """Return the address in the Location header of an answer.

        Raises:
            RegistryError: The header is missing, or points to another host without TLS while this one has it.
        """
        stated = response.headers.get("Location", "")
        try:
            url = response.url.join(stated)
        except httpx2.InvalidURL:
            stated = ""
        if not stated or url.scheme not in {"http", "https"}:
            raise RegistryError(f"{self.registry}: expected a Location to upload to, found {stated!r:.200}")
        if url.scheme == "http" and not self._plain_http:
            # The registry does not know that a proxy adds TLS: the host is right, the scheme is not.
            if url.host != response.url.host:
                raise RegistryError(f"{self.registry}: expected a Location with https, found one at {url.host!r}")
            url = url.copy_with(scheme="https", port=response.url.port)
        return str(url)

    @property
    def _secrets(self) -> Collection[str]:
        return (*(self._credentials.secrets if self._credentials else ()), *self._token_secrets)

    def _url(self, target: str) -> httpx2.URL:
        return httpx2.URL(target if "://" in target else self._base + target)

    def _what(self, method: str, url: httpx2.URL) -> str:
        return f"{self.registry}: expected an answer to {method} {without_secrets(str(url), *self._secrets)}"

    async def _send(
        self,
        method: str,
        url: httpx2.URL,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes] | None,
        read_seconds: float | None,
    ) -> httpx2.Response:
        request = self._client.build_request(method, url, headers=dict(headers), content=content)
        if read_seconds is not None:
            request.extensions["timeout"] = {**request.extensions["timeout"], "read": read_seconds}
        try:
            # The client drops the Authorization header where a redirect leaves the origin.
            return await self._client.send(request, stream=True, follow_redirects=method in {"GET", "HEAD"})
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise self._transport_error(method, url, error) from None

    async def _check_redirect(self, response: httpx2.Response) -> None:
        if (reason := refused_redirect(response)) is not None:
            raise RegistryError(f"{self.registry}: {reason}")

    def _transport_error(self, method: str, url: httpx2.URL, error: Exception) -> BuildError:
        found = without_secrets(f"{type(error).__name__} {error}".strip(), *self._secrets)
        message = f"{self._what(method, url)}, found {found}{certificate_advice(error)}"
        if isinstance(error, (httpx2.TooManyRedirects, httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
            return RegistryError(message)
        if isinstance(error, httpx2.ConnectError) and is_tls_error(error):
            # An untrusted certificate, or a server without TLS; another attempt would fail as well.
            return RegistryUnreachableError(message)
        is_unanswered = isinstance(error, (httpx2.ConnectError, httpx2.TimeoutException, httpx2.ProxyError))
        return RetryableError(message, is_unanswered=is_unanswered)

    async def _ping(self) -> None:
        """Request ``/v2/`` to get the challenge before anything is uploaded."""
        response = await self._send("GET", self._url(""), {}, None, None)
        try:
            if response.status_code in _RETRYABLE:
                reason = await self.reason(response)
                raise RetryableError(
                    f"{self._what('GET', self._url(''))}, {reason}", after=retry_after(response.headers)
                )
            if response.status_code == _UNAUTHORIZED:
                await self._challenged(response, {})
            elif response.status_code != _OK:
                raise await self.refusal(response, "the API of a registry at /v2/")
        finally:
            await response.aclose()

    async def _authorize(self, url: httpx2.URL) -> dict[str, str]:
        """Return the Authorization header; nothing for another origin than that of the registry."""
        if url.origin != self._origin or self._challenge is None:
            return {}
        if time.monotonic() > self._authorized_until:
            async with self._authorizing:
                if time.monotonic() > self._authorized_until:
                    await self._authenticate(self._challenge)
        return {"Authorization": self._authorization} if self._authorization else {}

    async def _challenged(self, response: httpx2.Response, used: Mapping[str, str]) -> None:
        """Answer the challenge of a response with status 401."""
        known = {
            challenge.scheme: challenge
            for challenge in reversed(parse_challenges(response.headers.get_list("WWW-Authenticate")))
        }
        challenge = known.get("bearer") or known.get("basic")
        if used and (challenge is None or challenge.scheme == "basic"):
            raise await self.refusal(response, "to be let in")
        if challenge is None:
            asked = ", ".join(sorted(known)) or found_instead(response) or "nothing"
            raise RegistryError(f"{self.registry}: expected a challenge for Basic or Bearer, found {asked:.300}")
        async with self._authorizing:
            if self._authorization is None or used.get("Authorization") == self._authorization:
                # No other request has renewed it in the meantime.
                await self._authenticate(challenge)

    async def _authenticate(self, challenge: Challenge) -> None:
        """Set the value of the Authorization header, with a token of the token server if the registry has one."""
        credentials = self._credentials
        self._challenge, self._authorized_until = challenge, float("inf")
        if credentials is not None and credentials.registry_token:
            self._authorization = f"Bearer {credentials.registry_token}"
        elif challenge.scheme == "basic":
            if credentials is None or not credentials.basic:
                raise CredentialsError(
                    f"{self.registry}: expected a user name and a password in the Docker configuration, found none"
                )
            self._authorization = f"Basic {credentials.basic}"
        else:
            self._authorized_until = 0.0
            token_seconds = await self.retried(lambda: self._fetch_token(challenge))
            self._authorized_until = time.monotonic() + token_seconds * _EARLY

    async def _fetch_token(self, challenge: Challenge) -> float:
        wanted = [*self._scopes, *self._optional_scopes]
        asked = token_request(
            challenge,
            self._credentials,
            wanted,
            registry=self.registry,
            plain_http=self._is_plain_asked_for,
            named=named_token_servers(),
        )
        try:
            url = httpx2.URL(asked.url)
        except httpx2.InvalidURL:
            raise RegistryError(
                f"{self.registry}: expected the address of a token server, found {asked.url!r:.200}"
            ) from None
        shown = "with credentials" if asked.headers else "without credentials"
        _log.info("%s: asking %s for a token, %s", self.registry, url.host, shown)
        method = "GET" if asked.form is None else "POST"
        response = await self._send(method, url, asked.headers, asked.form, None)
        try:
            if response.status_code in _RETRYABLE:
                reason = await self.reason(response)
                raise RetryableError(f"{self._what(method, url)}, {reason}", after=retry_after(response.headers))
            if response.status_code != _OK:
                if self._optional_scopes and response.status_code in {400, _UNAUTHORIZED, _FORBIDDEN}:
                    # These credentials may not read another repository, so nothing is mounted from it.
                    self._optional_scopes.clear()
                    raise RepeatError(f"{self.registry}: expected a token for other repositories too, found none")
                raise await self.refusal(response, f"a token from {url.host}", CredentialsError)
            data = await self.read(response, 1024 * 1024)
            if (instead := found_instead(response, data)) is not None:
                raise RegistryError(f"{self.registry}: expected a token from {url.host}, found {instead}")
            token = read_token(data, self.registry)
        except httpx2.HTTPError as error:
            raise self._transport_error(method, url, error) from None
        finally:
            await response.aclose()
        self._authorization = f"Bearer {token.value}"
        self._token_secrets.append(token.value)
        return token.seconds
