"""Bodies of answers: read up to a bound, and never unpacked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx2
import pytest

from thoth_models_builder.errors import SourceError
from thoth_models_builder.net.body import cap_body, found_instead, read_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Pieces(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body of ten pieces of ten bytes, that counts how many were taken."""

    def __init__(self) -> None:
        self.taken = 0
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(10):
            self.taken += 1
            yield bytes(10)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.is_closed = True


def answer(body: Pieces, **headers: str) -> httpx2.Response:
    return httpx2.Response(200, headers=headers, stream=body)


def read(response: httpx2.Response, max_size: int) -> bytes:
    return asyncio.run(read_body(response, max_size, SourceError))


def capped(response: httpx2.Response, max_size: int) -> bytes:
    cap_body(response, max_size, SourceError)
    return response.read()


@pytest.mark.parametrize("reader", [read, capped])
def test_a_body_within_the_bound_is_returned(reader: type) -> None:
    assert reader(answer(Pieces()), 100) == bytes(100)


@pytest.mark.hostile
@pytest.mark.parametrize("reader", [read, capped])
def test_a_longer_body_is_an_error_before_the_rest_of_it_is_read(reader: type) -> None:
    body = Pieces()
    with pytest.raises(SourceError, match=r"^expected an answer of at most 25 bytes, found more$"):
        reader(answer(body), 25)
    assert body.taken == 3


@pytest.mark.hostile
@pytest.mark.parametrize("reader", [read, capped])
def test_an_encoded_body_is_an_error_before_any_of_it_is_read(reader: type) -> None:
    body = Pieces()
    with pytest.raises(SourceError, match=r"^expected an answer without encoding, found it encoded as 'gzip'$"):
        reader(answer(body, **{"Content-Encoding": "gzip"}), 100)
    assert body.taken == 0


def test_a_capped_body_is_closed_with_its_answer() -> None:
    body = Pieces()
    capped(answer(body), 100)
    assert body.is_closed


PAGE = "an HTML page, as a captive portal or a proxy sends, from https://hub.test/login?***"


@pytest.mark.parametrize(
    ("headers", "beginning", "expected"),
    [
        ({}, b"<!DOCTYPE html>", PAGE),
        ({}, b"\xef\xbb\xbf\r\n <HTML lang='en'>", PAGE),
        ({"Content-Type": "text/html; charset=utf-8"}, None, PAGE),
        ({"Content-Type": "text/html; charset=utf-8"}, b" ", PAGE),
        ({"Content-Type": "text/html; charset=utf-8"}, b"", None),
        # A server may state that of every file.
        ({"Content-Type": "text/html"}, b"{}", None),
        ({"Content-Type": "application/json"}, b"", None),
        ({"Content-Encoding": "identity"}, b"\x1f\x8b", None),
        (
            {"Content-Encoding": "br"},
            b"<html",
            "an answer compressed as 'br', which was not asked for, from https://hub.test/login?***",
        ),
        ({}, b"# HTML\n<html>", None),
    ],
)
def test_what_came_instead_of_an_answer(headers: dict[str, str], beginning: bytes | None, expected: str | None) -> None:
    request = httpx2.Request("GET", "https://user:word@hub.test/login?session=1")
    expected = expected and expected.replace("https://", "https://***@")
    assert found_instead(httpx2.Response(200, headers=headers, request=request), beginning) == expected
