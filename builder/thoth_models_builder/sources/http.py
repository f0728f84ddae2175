"""Download files over HTTP into sinks: several at once, resumed after an interruption, every wait bounded.

It uses asyncio, where a deadline ends any wait: for a connection, for slow headers, for a body that stops. Timeouts of
HTTP clients apply to single operations, and a server that sends a byte now and then never exceeds them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx2

from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models_builder.errors import SourceError, SourceUnreachableError, WrongContentError
from thoth_models_builder.net.body import BEGINNING, found_instead
from thoth_models_builder.net.certificates import (
    adopt_certificates,
    certificate_advice,
    is_tls_error,
    named_certificates,
)
from thoth_models_builder.net.redact import without_secrets
from thoth_models_builder.net.redirects import refused_redirect
from thoth_models_builder.net.retry import (
    RepeatError,
    RetryableError,
    StallDetector,
    retried,
    retry_after,
    run_requests,
)
from thoth_models_builder.sources.source import Failure, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from thoth_models_builder.sources.limits import Limits
    from thoth_models_builder.sources.source import Sink

_log = logging.getLogger(__name__)

_MAX_REDIRECTS = 10
_PARTIAL, _OK, _RANGE_NOT_SATISFIABLE, _TOO_MANY, _SERVER_TROUBLE = 206, 200, 416, 429, 500
_PAGE_SUFFIXES = (".html", ".htm", ".xhtml")
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
    _first: int | None = field(default=None, init=False)

    def run(
        self,
        wanted: Sequence[tuple[str, RemoteFile]],
        open_sink: Callable[[RemoteFile], AbstractContextManager[Sink]],
    ) -> list[Failure]:
        """Download each URL into the sink of its file, and return the failures."""
        return run_requests(lambda: self._run(wanted, open_sink))

    def beginning(self, url: str, file: RemoteFile, size: int) -> bytes:
        """Return the first ``size`` bytes of a file, or all bytes of a shorter one.

        A server that does not answer ranges sends the whole file, and is cut off.

        Raises:
            SourceError: They were not delivered.
        """
        sink = _Beginning(size)
        self._first = size
        failures: list[Failure] = []
        try:
            # Without its size, which is not that of the answer.
            with contextlib.suppress(_EnoughError):
                failures = self.run([(url, RemoteFile(path=file.path))], lambda _: contextlib.nullcontext(sink))
        finally:
            self._first = None
        if failures:
            raise failures[0].error
        return bytes(sink.data)

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
                timeout=timeout,
                follow_redirects=True,
                max_redirects=_MAX_REDIRECTS,
                headers=self._headers(),
                event_hooks={"response": [_check_redirect]},
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
            instead = await self._attempt(client, url, file, sink)
            try:
                sink.finish()
            except WrongContentError as error:
                if instead is not None:
                    raise SourceError(f"{file.path}: expected {_size(file)}, found {instead}") from error
                if not resumed:
                    raise
                # The bytes of an earlier attempt may be the wrong ones.
                _log.warning("%s: the resumed file has another digest, starting over", file.path)
                sink.restart()
                raise RepeatError(str(error)) from error

        await retried(attempt, self.limits, SourceError, SourceUnreachableError, progress=lambda: sink.offset)

    async def _attempt(self, client: httpx2.AsyncClient, url: str, file: RemoteFile, sink: Sink) -> str | None:
        """Request the missing part of a file once, and write the bytes as they arrive.

        Returns:
            What the answer looks like, if it looks like something else than the file.
        """
        if file.size is not None and sink.offset == file.size:
            return None
        headers = {"Range": f"bytes={sink.offset}-"} if sink.offset else {}
        if self._first is not None:
            sink.restart()
            headers = {"Range": f"bytes=0-{self._first - 1}"}
        try:
            async with client.stream("GET", url, headers=headers) as response:
                self._has_answered = True
                return await _Answer(response, file, sink, self.limits).receive()
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


class _Answer:
    """An answer to a request for a file, or for the rest of one."""

    def __init__(self, response: httpx2.Response, file: RemoteFile, sink: Sink, limits: Limits) -> None:
        self._response = response
        self._file = file
        self._sink = sink
        self._limits = limits
        # Unbuffered: with a fixed piece size, bytes would be held back, lost when the connection breaks, and a slow
        # transfer would go unnoticed.
        self._pieces = response.aiter_raw()

    async def receive(self) -> str | None:
        """Write the bytes as they arrive, and return what they look like, if that is not the file.

        Raises:
            SourceError: The status or the length is not that of the file, or its bytes are not and nothing else shows
                it, because the digest is not known yet.
            RetryableError: Another request may succeed.
        """
        self._check_status()
        first = await anext(self._pieces, b"")
        is_page_or_rest = self._file.path.endswith(_PAGE_SUFFIXES) or self._response.status_code == _PARTIAL
        instead = None if is_page_or_rest else found_instead(self._response, first[:BEGINNING])
        try:
            if instead is not None and self._file.sha256 is None:
                raise self._wrong(instead)
            if self._response.status_code == _OK:
                self._check_length()
                # A server without range support sends the whole file again.
                self._sink.restart()
            await self._write(first)
        except (SourceError, RetryableError) as error:
            if instead is None:
                raise
            raise self._wrong(instead) from error
        return instead

    def _wrong(self, found: str) -> SourceError:
        return SourceError(f"{self._file.path}: expected {_size(self._file)}, found {found}")

    def _check_status(self) -> None:
        """Accept an answer with the rest of the file or with the whole file; raise for any other."""
        status, file, sink = self._response.status_code, self._file, self._sink
        if status == _PARTIAL and sink.offset:
            stated = self._response.headers.get("Content-Range", "nothing")
            if not stated.startswith(f"bytes {sink.offset}-"):
                message = f"{file.path}: expected the bytes from {sink.offset} on, found {stated}"
                sink.restart()
                raise RetryableError(message)
            return
        is_first_part = status == _PARTIAL and self._response.headers.get("Content-Range", "").startswith("bytes 0-")
        if status == _OK or (is_first_part and "Range" in self._response.request.headers):
            return
        instead = found_instead(self._response)
        page = "" if instead is None else f" and {instead}"
        message = f"{file.path}: expected HTTP status 200, found {status}{_advice(status)}{page}"
        if status == _RANGE_NOT_SATISFIABLE:
            sink.restart()
            raise RetryableError(message)
        if status == _TOO_MANY or status >= _SERVER_TROUBLE:
            raise RetryableError(message, after=retry_after(self._response.headers))
        raise SourceError(message)

    def _check_length(self) -> None:
        stated, file = self._response.headers.get("Content-Length", ""), self._file
        if file.size is not None and stated.isdecimal() and int(stated) != file.size:
            raise SourceError(f"{file.path}: expected {file.size} bytes, found a Content-Length of {stated}")

    async def _write(self, first: bytes) -> None:
        stall = StallDetector(self._limits, self._file.path)
        file, sink = self._file, self._sink
        sink.write(first)
        stall.received(len(first))
        async for data in self._pieces:
            sink.write(data)
            stall.received(len(data))
        if file.size is not None and sink.offset < file.size:
            raise RetryableError(f"{file.path}: expected {file.size} bytes, found the end after {sink.offset}")


async def _check_redirect(response: httpx2.Response) -> None:
    try:
        reason = refused_redirect(response)
    except httpx2.InvalidURL:
        return  # the client says so
    if reason is not None:
        raise SourceError(reason)


class _EnoughError(Exception):
    """The server sends more than was asked for."""


class _Beginning:
    """A sink that takes the first bytes of a file."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.data = bytearray()

    @property
    def offset(self) -> int:
        return len(self.data)

    def write(self, data: bytes | memoryview) -> None:
        self.data += data[: self._size - len(self.data)]
        if len(data) and len(self.data) == self._size:
            raise _EnoughError("expected no more bytes")

    def restart(self) -> None:
        self.data.clear()

    def finish(self) -> ContentDigest:
        return ContentDigest(size=len(self.data), sha256=Digest.of(bytes(self.data)))


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
