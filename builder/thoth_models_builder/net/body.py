"""Read the body of an HTTP answer into memory, up to a size limit; and recognise an answer that something else sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

from thoth_models_builder.net.redact import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from thoth_models_builder.errors import BuildError


_PAGES = (b"<!doctype html", b"<html")

BEGINNING = 256
"""Bytes of a body that show whether it is an HTML page."""


def found_instead(response: httpx2.Response, beginning: bytes | None = None) -> str | None:
    """Describe a compressed answer, or an HTML page where something else was asked for, with its address; else None.

    Where the ``beginning`` of its body is not known, only the header says that an answer is a page. That is no proof,
    as some servers state it of any file: accept what has the right digest. An answer without a body is no page.
    """
    encoding = response.headers.get("Content-Encoding", "").lower()
    address = without_secrets(str(response.url))
    if encoding not in ("", "identity"):
        return f"an answer compressed as {encoding[:20]!r}, which was not asked for, from {address}"
    is_stated = response.headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml"))
    shown = (beginning or b"").removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if shown.startswith(_PAGES) or (is_stated and not shown and beginning != b""):
        return f"an HTML page, as a captive portal or a proxy sends, from {address}"
    return None


def found_in_answer(response: httpx2.Response | None = None) -> str | None:
    """Describe an answer as :func:`found_instead` does, by its body if other code has read it; None for no answer."""
    if response is None:
        return None
    try:
        return found_instead(response, response.content[:BEGINNING] or None)
    except httpx2.ResponseNotRead:
        return found_instead(response)


async def read_body(response: httpx2.Response, max_size: int, wrong: Callable[[str], BuildError]) -> bytes:
    """Return the body of an answer.

    Args:
        response: An answer whose body was not read yet.
        max_size: Maximum length in bytes.
        wrong: Creates the error to raise if the answer is longer, or encoded.
    """
    _refuse_encoding(response, wrong)
    data = bytearray()
    async for piece in response.aiter_raw():
        data += piece
        if len(data) > max_size:
            raise wrong(_too_long(max_size))
    return bytes(data)


def cap_body(response: httpx2.Response, max_size: int, wrong: Callable[[str], BuildError]) -> None:
    """Apply the checks of :func:`read_body` to an answer whose body other code is about to read."""
    _refuse_encoding(response, wrong)
    if isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = _CappedStream(response.stream, max_size, wrong)


class _CappedStream(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, max_size: int, wrong: Callable[[str], BuildError]) -> None:
        self._stream = stream
        self._max_size = max_size
        self._wrong = wrong

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for data in self._stream:
            size += len(data)
            if size > self._max_size:
                raise self._wrong(_too_long(self._max_size))
            yield data

    def close(self) -> None:
        self._stream.close()


def _refuse_encoding(response: httpx2.Response, wrong: Callable[[str], BuildError]) -> None:
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        # A few compressed bytes may unpack to any number, so compressed answers are refused.
        raise wrong(f"expected an answer without encoding, found it encoded as {encoding[:20]!r}")


def _too_long(max_size: int) -> str:
    return f"expected an answer of at most {max_size} bytes, found more"
