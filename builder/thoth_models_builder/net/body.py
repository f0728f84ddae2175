"""Read the body of an HTTP answer into memory, up to a size limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from thoth_models_builder.errors import BuildError


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
