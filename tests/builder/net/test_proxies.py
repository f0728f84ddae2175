"""An address of a proxy that no client could use is refused, and not shown."""

from __future__ import annotations

import pytest

from thoth_models_builder.errors import RegistryError, SourceUnreachableError
from thoth_models_builder.net.proxies import refuse_malformed_proxies


@pytest.mark.hostile
@pytest.mark.parametrize(
    "value",
    [
        "http://user:pa/ss@proxy:3128",
        "http://user/name:word@proxy:3128",
        "http://user:pa?ss@proxy:3128",
        "http://user:pa#ss@proxy:3128",
        "http://user:word@proxy:port",
        "http://user:word@proxy:99999",
        "http://user:word@[::1:3128",
        "http://user:word@",
        "ftp://user:word@proxy",
        "user:pa/ss@proxy:3128",
    ],
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_malformed_address_of_a_proxy_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    for kind in (SourceUnreachableError, RegistryError):
        with pytest.raises(kind, match=f"^expected {name} to be the address of a proxy") as caught:
            refuse_malformed_proxies(kind)
        assert all(part not in str(caught.value).partition("such as")[0] for part in ("pa", "ss@", "word", "name:"))
        assert value not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "http://proxy:3128",
        "http://proxy:3128/",
        "proxy:3128",
        "proxy",
        "https://u:p%2Fw@[::1]:1",
        "socks5://p:1",
    ],
)
def test_addresses_are_accepted(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "*.example.org/")
    refuse_malformed_proxies(SourceUnreachableError)
