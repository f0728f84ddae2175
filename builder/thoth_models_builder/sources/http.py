"""Download files over HTTP into sinks: several at once, resumed after an interruption, every wait bounded.

It uses asyncio, where a deadline ends any wait: for a connection, for slow headers, for a body that stops. Timeouts of
HTTP clients apply to single operations, and a server that sends a byte now and then never exceeds them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx2

from thoth_models_builder.errors import SourceError, SourceUnreachableError, WrongContentError
from thoth_models_builder.net.certificates import (
    adopt_certificates,
    certificate_advice,
    is_tls_error,
    named_certificates,
)
from thoth_models_builder.net.redact import without_secrets
from thoth_models_builder.net.retry import RepeatError, RetryableError, StallDetector, retried, retry_after
from thoth_models_builder.sources.source import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from thoth_models_builder.sources.limits import Limits
    from thoth_models_builder.sources.source import RemoteFile, Sink

_log = logging.getLogger(__name__)

_MAX_REDIRECTS = 10
_PARTIAL, _OK, _RANGE_NOT_SATISFIABLE, _TOO_MANY, _SERVER_TROUBLE = 206, 200, 416, 429, 500
_NO_ANSWER = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, httpx2.UnsupportedProtocol)


@dataclass(kw_only=True, slots=True)
class Downloader:
    """Downloads of one run against one endpoint.

    Attributes:
        limits: Bounds on every wait.
        token: Token for the origin of each URL, or None; it is not sent to other origins after a redirect.
    """

    limits: Limits
    token: str | None
    _has_answered: bool = field(default=False, init=False)

    def run(
        self,
        wanted: Sequence[tuple[str, RemoteFile]],
        open_sink: Callable[[RemoteFile], AbstractContextManager[Sink]],
    ) -> list[Failure]:
        """Download each URL into the sink of its file, and return the failures."""
        return asyncio.run(self._run(wanted, open_sink))

    async def _run(
        self,
        wanted: Sequence[tuple[str, RemoteFile]],
        open_sink: Callable[[RemoteFile], AbstractContextManager[Sink]],
    ) -> list[Failure]:
        limits = self.limits
        places = asyncio.Semaphore(limits.concurrency)
        unreachable: list[SourceUnreachableError] = []
        timeout = httpx2.Timeout(limits.read, connect=limits.connect)

        async def one(client: httpx2.AsyncClient, url: str, file: RemoteFile) -> Failure | None:
            async with places:
                if unreachable:
                    # The endpoint does not answer at all; trying again for each file would only take longer.
                    return Failure(file=file, error=unreachable[0])
                try:
                    with open_sink(file) as sink:
                        await self._download(client, url, file, sink)
                except SourceUnreachableError as error:
                    unreachable.append(error)
                    return Failure(file=file, error=error)
                except SourceError as error:
                    return Failure(file=file, error=error)
                return None

        adopt_certificates()
        try:
            # follow_redirects drops the Authorization header where the origin changes.
            opened = httpx2.AsyncClient(
                timeout=timeout, follow_redirects=True, max_redirects=_MAX_REDIRECTS, headers=self._headers()
            )
        except (ValueError, ImportError, OSError, httpx2.InvalidURL) as error:
            found = f"{without_secrets(str(error))}{named_certificates()}"
            reason = f"expected proxies and certificates as the environment names them, found {found}"
            return [Failure(file=file, error=SourceUnreachableError(reason)) for _, file in wanted]
        async with opened as client:
            outcomes = await asyncio.gather(*(one(client, url, file) for url, file in wanted))
        return [failure for failure in outcomes if failure is not None]

    def _headers(self) -> dict[str, str]:
        # identity: the digest is that of the file, not of a compressed form of it.
        headers = {"Accept-Encoding": "identity", "User-Agent": "thoth-models-builder"}
        return {**headers, "Authorization": f"Bearer {self.token}"} if self.token else headers

    async def _download(self, client: httpx2.AsyncClient, url: str, file: RemoteFile, sink: Sink) -> None:
        deadline = self.limits.deadline(file.size)
        started = time.monotonic()
        try:
            async with asyncio.timeout(deadline):
                await self._attempts(client, url, file, sink)
        except TimeoutError as error:
            found = f"{sink.offset} bytes after {time.monotonic() - started:.1f} s"
            raise SourceError(f"{file.path}: expected {_size(file)} within {deadline:g} s, found {found}") from error

    async def _attempts(self, client: httpx2.AsyncClient, url: str, file: RemoteFile, sink: Sink) -> None:
        """Try until the sink accepts the file, or as many attempts in a row as are allowed brought nothing new."""

        async def attempt() -> None:
            resumed = sink.offset > 0
            await self._attempt(client, url, file, sink)
            try:
                sink.finish()
            except WrongContentError as error:
                if not resumed:
                    raise
                # The bytes of an earlier attempt may be the wrong ones.
                _log.warning("%s: the resumed file has another digest, starting over", file.path)
                sink.restart()
                raise RepeatError(str(error)) from error

        await retried(attempt, self.limits, SourceError, SourceUnreachableError, progress=lambda: sink.offset)

    async def _attempt(self, client: httpx2.AsyncClient, url: str, file: RemoteFile, sink: Sink) -> None:
        """Request the missing part of a file once, and write the bytes as they arrive."""
        if file.size is not None and sink.offset == file.size:
            return
        headers = {"Range": f"bytes={sink.offset}-"} if sink.offset else {}
        try:
            async with client.stream("GET", url, headers=headers) as response:
                self._has_answered = True
                self._check_status(response, file, sink)
                await self._receive(response, file, sink)
        except _NO_ANSWER as error:
            if is_tls_error(error):
                # An untrusted certificate, or a server without TLS; another attempt would fail as well.
                raise SourceUnreachableError(self._what(file, url, error)) from error
            raise RetryableError(self._what(file, url, error), is_unanswered=True) from error
        except httpx2.TooManyRedirects as error:
            raise SourceError(self._what(file, url, error)) from error
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
            is_silent = isinstance(error, httpx2.ReadTimeout) and not self._has_answered
            raise RetryableError(self._what(file, url, error), is_unanswered=is_silent) from error

    def _what(self, file: RemoteFile, url: str, error: Exception) -> str:
        secrets = [self.token] if self.token else []
        found = without_secrets(f"{type(error).__name__} {error}".strip(), *secrets)
        advice = certificate_advice(error)
        return f"{file.path}: expected {_size(file)} from {without_secrets(url)}, found {found}{advice}"

    def _check_status(self, response: httpx2.Response, file: RemoteFile, sink: Sink) -> None:
        """Accept an answer with the rest of the file or with the whole file; raise for any other."""
        status = response.status_code
        if status == _PARTIAL and sink.offset:
            stated = response.headers.get("Content-Range", "nothing")
            if not stated.startswith(f"bytes {sink.offset}-"):
                message = f"{file.path}: expected the bytes from {sink.offset} on, found {stated}"
                sink.restart()
                raise RetryableError(message)
            return
        if status == _OK:
            # A server without range support sends the whole file again.
            sink.restart()
            self._check_length(response, file)
            return
        message = f"{file.path}: expected HTTP status 200, found {status}{_advice(status)}"
        if status == _RANGE_NOT_SATISFIABLE:
            sink.restart()
            raise RetryableError(message)
        if status == _TOO_MANY or status >= _SERVER_TROUBLE:
            raise RetryableError(message, after=retry_after(response.headers))
        raise SourceError(message)

    def _check_length(self, response: httpx2.Response, file: RemoteFile) -> None:
        stated = response.headers.get("Content-Length", "")
        if file.size is not None and stated.isdecimal() and int(stated) != file.size:
            raise SourceError(f"{file.path}: expected {file.size} bytes, found a Content-Length of {stated}")

    async def _receive(self, response: httpx2.Response, file: RemoteFile, sink: Sink) -> None:
        stall = StallDetector(self.limits, file.path)
        # Unbuffered: with a fixed piece size, bytes would be held back, lost when the connection breaks, and a slow
        # transfer would go unnoticed.
        async for data in response.aiter_raw():
            sink.write(data)
            stall.received(len(data))
        if file.size is not None and sink.offset < file.size:
            raise RetryableError(f"{file.path}: expected {file.size} bytes, found the end after {sink.offset}")


def _size(file: RemoteFile) -> str:
    return "the file" if file.size is None else f"{file.size} bytes"


def _advice(status: int) -> str:
    match status:
        case 401:
            return " (no such file, or private: set HF_TOKEN)"
        case 403:
            return " (gated, and the token has no access)"
        case 404:
            return " (no such file at this commit)"
        case _:
            return ""
