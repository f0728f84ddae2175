"""Streaming HTTP downloads into sinks: several at once, resumed after a cut, and every wait with an end.

asyncio, because a deadline there ends any wait: a connection that does not come, headers that drip, a body that stops.
Timeouts of the HTTP client alone count per operation, and a server that sends a byte now and then never meets them.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx2

from thoth_models_builder.errors import SourceError, SourceUnreachableError, WrongContentError
from thoth_models_builder.redact import without_secrets
from thoth_models_builder.sources import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from thoth_models_builder.sources import RemoteFile, Sink
    from thoth_models_builder.sources.limits import Limits

_log = logging.getLogger(__name__)

_MOST_REDIRECTS = 10
_PARTIAL, _OK, _RANGE_NOT_SATISFIABLE, _TOO_MANY, _SERVER_TROUBLE = 206, 200, 416, 429, 500
_NO_ANSWER = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, httpx2.UnsupportedProtocol)

# Up to the last @ before the path: a password may hold one itself.


class _RetryableError(SourceError):
    """Another attempt may do better; ``after`` is what the server asks to wait, in seconds."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class _StallError(_RetryableError):
    """Bytes came, but too few: an attempt in vain all the same."""


class _NoAnswerError(_RetryableError):
    """No connection came about, or one to a server that has answered nothing so far."""


@dataclass(kw_only=True, slots=True)
class Downloader:
    """Downloads of one run against one endpoint.

    Attributes:
        limits: Bounds on every wait.
        token: Sent to the origin of each URL and to no other one it redirects to, or None.
    """

    limits: Limits
    token: str | None
    _has_answered: bool = field(default=False, init=False)

    def run(
        self,
        wanted: Sequence[tuple[str, RemoteFile]],
        open_sink: Callable[[RemoteFile], AbstractContextManager[Sink]],
    ) -> list[Failure]:
        """Download each URL into the sink of its file, and return those that failed, each with the reason."""
        return asyncio.run(self._run(wanted, open_sink))

    async def _run(
        self,
        wanted: Sequence[tuple[str, RemoteFile]],
        open_sink: Callable[[RemoteFile], AbstractContextManager[Sink]],
    ) -> list[Failure]:
        limits = self.limits
        places = asyncio.Semaphore(limits.concurrency)
        gave_up: list[SourceUnreachableError] = []
        timeout = httpx2.Timeout(limits.read, connect=limits.connect)

        async def one(client: httpx2.AsyncClient, url: str, file: RemoteFile) -> Failure | None:
            async with places:
                if gave_up:
                    # The endpoint does not answer at all: asking once more per file would only take longer.
                    return Failure(file=file, error=gave_up[0])
                try:
                    with open_sink(file) as sink:
                        await self._download(client, url, file, sink)
                except SourceUnreachableError as error:
                    gave_up.append(error)
                    return Failure(file=file, error=error)
                except SourceError as error:
                    return Failure(file=file, error=error)
                return None

        try:
            # follow_redirects drops the Authorization header where the origin changes.
            opened = httpx2.AsyncClient(
                timeout=timeout, follow_redirects=True, max_redirects=_MOST_REDIRECTS, headers=self._headers()
            )
        except (ValueError, ImportError, OSError, httpx2.InvalidURL) as error:
            reason = (
                f"expected proxies and certificates as the environment names them, found {without_secrets(str(error))}"
            )
            return [Failure(file=file, error=SourceUnreachableError(reason)) for _, file in wanted]
        async with opened as client:
            outcomes = await asyncio.gather(*(one(client, url, file) for url, file in wanted))
        return [failure for failure in outcomes if failure is not None]

    def _headers(self) -> dict[str, str]:
        # identity: what is hashed are the bytes of the file, not a compressed form of them.
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
        """Try until the sink accepts the file, or nothing new has come for as many attempts as are allowed."""
        in_vain = 0
        while True:
            before = sink.offset
            try:
                await self._attempt(client, url, file, sink)
                sink.finish()
            except WrongContentError:
                # What was taken over from an earlier attempt may have been to blame; what came in one piece was not.
                if not before:
                    raise
                _log.warning("%s: the resumed file has another digest, starting over", file.path)
                sink.restart()
                in_vain += 1
            except _RetryableError as error:
                has_progressed = sink.offset > before and not isinstance(error, _StallError)
                in_vain = 0 if has_progressed else in_vain + 1
                if in_vain >= self.limits.attempts:
                    kind = SourceUnreachableError if isinstance(error, _NoAnswerError) else SourceError
                    raise kind(f"{error} (after {in_vain} attempts)") from error
                _log.info("%s; trying again", error)
                await asyncio.sleep(self._pause(in_vain, error.after))
            else:
                return

    def _pause(self, in_vain: int, asked: float | None) -> float:
        pause = self.limits.backoff * 2 ** max(in_vain - 1, 0)
        jittered = pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients out, guards nothing
        return float(min(max(jittered, asked or 0.0), self.limits.backoff_most))

    async def _attempt(self, client: httpx2.AsyncClient, url: str, file: RemoteFile, sink: Sink) -> None:
        """Ask once for what the sink lacks, and write what comes."""
        if file.size is not None and sink.offset == file.size:
            return
        headers = {"Range": f"bytes={sink.offset}-"} if sink.offset else {}
        try:
            async with client.stream("GET", url, headers=headers) as response:
                self._has_answered = True
                self._check_status(response, file, sink)
                await self._receive(response, file, sink)
        except _NO_ANSWER as error:
            raise _NoAnswerError(self._what(file, url, error)) from error
        except httpx2.TooManyRedirects as error:
            raise SourceError(self._what(file, url, error)) from error
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
            is_silent = isinstance(error, httpx2.ReadTimeout) and not self._has_answered
            raise (_NoAnswerError if is_silent else _RetryableError)(self._what(file, url, error)) from error

    def _what(self, file: RemoteFile, url: str, error: Exception) -> str:
        secrets = [self.token] if self.token else []
        found = without_secrets(f"{type(error).__name__} {error}".strip(), *secrets)
        return f"{file.path}: expected {_size(file)} from {without_secrets(url)}, found {found}"

    def _check_status(self, response: httpx2.Response, file: RemoteFile, sink: Sink) -> None:
        """Accept an answer that continues or repeats the file; anything else is an error."""
        status = response.status_code
        if status == _PARTIAL and sink.offset:
            stated = response.headers.get("Content-Range", "nothing")
            if not stated.startswith(f"bytes {sink.offset}-"):
                message = f"{file.path}: expected the bytes from {sink.offset} on, found {stated}"
                sink.restart()
                raise _RetryableError(message)
            return
        if status == _OK:
            # A server without ranges sends all of it again.
            sink.restart()
            self._check_length(response, file)
            return
        message = f"{file.path}: expected HTTP status 200, found {status}{_advice(status)}"
        if status == _RANGE_NOT_SATISFIABLE:
            sink.restart()
            raise _RetryableError(message)
        if status == _TOO_MANY or status >= _SERVER_TROUBLE:
            raise _RetryableError(message, _retry_after(response))
        raise SourceError(message)

    def _check_length(self, response: httpx2.Response, file: RemoteFile) -> None:
        stated = response.headers.get("Content-Length", "")
        if file.size is not None and stated.isdecimal() and int(stated) != file.size:
            raise SourceError(f"{file.path}: expected {file.size} bytes, found a Content-Length of {stated}")

    async def _receive(self, response: httpx2.Response, file: RemoteFile, sink: Sink) -> None:
        limits = self.limits
        window_start, window_bytes = time.monotonic(), 0
        # As it comes: a size asked for here would hold bytes back, which a cut then loses and a slow drip hides behind.
        async for data in response.aiter_raw():
            sink.write(data)
            window_bytes += len(data)
            elapsed = time.monotonic() - window_start
            if elapsed >= limits.stall_window:
                if window_bytes < limits.stall_bytes:
                    raise _StallError(
                        f"{file.path}: expected at least {limits.stall_bytes} bytes in {limits.stall_window:g} s, "
                        f"found {window_bytes} in {elapsed:.1f} s"
                    )
                window_start, window_bytes = time.monotonic(), 0
        if file.size is not None and sink.offset < file.size:
            raise _RetryableError(f"{file.path}: expected {file.size} bytes, found the end after {sink.offset}")


class _CappedStream(httpx2.SyncByteStream):
    """The body of an answer that is read into memory: it must end before it fills that."""

    def __init__(self, stream: httpx2.SyncByteStream, most: int) -> None:
        self._stream = stream
        self._most = most

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for data in self._stream:
            size += len(data)
            if size > self._most:
                raise SourceError(f"expected an answer of at most {self._most} bytes, found more")
            yield data

    def close(self) -> None:
        self._stream.close()


def cap_answer(response: httpx2.Response, most: int) -> None:
    """Make an answer that is about to be read raise SourceError beyond ``most`` bytes, compressed or not.

    For a client whose requests somebody else makes; as a hook on its responses.
    """
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        # A few bytes of it may unpack to any number.
        raise SourceError(f"expected an answer as it is, which was asked for, found it encoded as {encoding[:20]!r}")
    if isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = _CappedStream(response.stream, most)


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


def _retry_after(response: httpx2.Response) -> float | None:
    stated = response.headers.get("Retry-After", "")
    # The other form, a date, is rare enough to be met with the ordinary backoff.
    return float(stated) if stated.isdecimal() else None
