"""Redirects that take TLS away, or lead into the network of the machine, are not followed."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.support.downloads import QUICK
from thoth_models_builder.errors import RegistryError, SourceError
from thoth_models_builder.net.redirects import is_internal, refused_redirect
from thoth_models_builder.registry.session import Session
from thoth_models_builder.sources.http import Downloader
from thoth_models_builder.sources.source import RemoteFile

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED = [
    ("https://hub.example/a", "http://hub.example/a", "https, found a redirect to http at hub.example"),
    ("https://hub.example/a", "http://127.0.0.1/a", "https, found a redirect to http at 127.0.0.1"),
    ("https://hub.example/a", "https://127.0.0.1:8/a", "a public address, found a redirect to 127.0.0.1"),
    ("https://hub.example/a", "https://localhost/a", "a public address, found a redirect to localhost"),
    ("https://hub.example/a", "//10.1.2.3/a", "a public address, found a redirect to 10.1.2.3"),
    ("http://hub.example/a", "http://169.254.169.254/latest/meta-data", "found a redirect to 169.254.169.254"),
    ("https://hub.example/a", "https://[::1]/a", "found a redirect to ::1"),
    ("https://hub.example/a", "https://[fd00::1]/a", "found a redirect to fd00::1"),
    ("https://hub.example/a", "https://[::ffff:10.0.0.1]/a", "found a redirect to ::ffff:"),
    ("https://1.1.1.1/a", "https://192.168.0.1/a", "found a redirect to 192.168.0.1"),
]
FOLLOWED = [
    ("https://hub.example/a", "/b"),
    ("https://hub.example/a", "https://cdn.example/a"),
    ("http://hub.example/a", "https://hub.example/a"),
    ("http://127.0.0.1:1/a", "http://localhost:2/a"),
    ("https://10.0.0.1/a", "https://10.0.0.2/a"),
    ("https://localhost/a", "https://cdn.example/a"),
]


def answer(before: str, after: str) -> httpx2.Response:
    return httpx2.Response(302, headers={"Location": after}, request=httpx2.Request("GET", before))


@pytest.mark.hostile
@pytest.mark.parametrize(("before", "after", "found"), REFUSED)
def test_a_redirect_without_tls_or_into_an_internal_network_is_refused(before: str, after: str, found: str) -> None:
    reason = refused_redirect(answer(before, after))
    assert reason is not None
    assert found in reason


@pytest.mark.parametrize(("before", "after"), FOLLOWED)
def test_others_are_followed(before: str, after: str) -> None:
    assert refused_redirect(answer(before, after)) is None
    assert refused_redirect(httpx2.Response(200, request=httpx2.Request("GET", before))) is None


def test_names_are_not_looked_up() -> None:
    assert not is_internal("storage.internal.example")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Answer every request of the client with a redirect, and return the addresses that were asked."""

    def serve(after: str) -> list[str]:
        asked: list[str] = []

        def handle(request: httpx2.Request) -> httpx2.Response:
            asked.append(str(request.url))
            is_first = len(asked) == 1
            return (
                httpx2.Response(302, headers={"Location": after})
                if is_first
                else httpx2.Response(200, stream=httpx2.ByteStream(b"x"))
            )

        transport = httpx2.MockTransport(handle)
        monkeypatch.setattr(httpx2, "AsyncClient", functools.partial(httpx2.AsyncClient, transport=transport))
        return asked

    return serve


@pytest.mark.hostile
@pytest.mark.parametrize(("before", "after", "found"), REFUSED)
def test_a_download_does_not_follow_a_redirect_without_tls_or_into_an_internal_network(
    served: Callable[[str], list[str]], before: str, after: str, found: str
) -> None:
    asked = served(after)
    with pytest.raises(SourceError) as caught:
        Downloader(limits=QUICK, token=None).beginning(before, RemoteFile(path="a"), 10)
    assert found in str(caught.value)
    assert asked == [before]


def test_a_download_follows_others(served: Callable[[str], list[str]]) -> None:
    asked = served("https://cdn.example/a")
    assert Downloader(limits=QUICK, token=None).beginning("https://hub.example/a", RemoteFile(path="a"), 10) == b"x"
    assert asked == ["https://hub.example/a", "https://cdn.example/a"]


@pytest.mark.hostile
def test_a_registry_does_not_redirect_into_an_internal_network(served: Callable[[str], list[str]]) -> None:
    asked = served("https://169.254.169.254/token")

    async def connect() -> None:
        async with Session("registry.example", scopes=()):
            pass

    with pytest.raises(RegistryError, match=r"registry\.example: expected registry\.example to redirect to a public"):
        asyncio.run(connect())
    assert asked == ["https://registry.example/v2/"]
