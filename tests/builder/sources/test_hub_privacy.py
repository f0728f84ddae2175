"""Where a token goes and where not, what is logged, and that the Hub's own cache is left alone; proxies."""

from __future__ import annotations

import http.client
import logging
import os
import socket
import traceback
from functools import partial
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import pytest

from tests.support import hub_simulator as faults
from tests.support.downloads import CALM, FILES, LARGE, QUICK, REPOSITORY, SMALL, TOKEN, limits_for, remote
from tests.support.hub_faults import ConnectionServer, RequestReader
from tests.support.hub_simulator import DEFAULT_COMMIT, HubSimulator, Status
from tests.support.projects import environment_of_children
from thoth_models_builder.errors import SourceError, SourceUnreachableError
from thoth_models_builder.sources.hub import HubRepository

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from thoth_models_builder.sources.limits import Limits
    from thoth_models_builder.storage.store import Store

SIGNATURE = "X-Amz-Signature"


def fetch(store: Store, *names: str, limits: Limits = CALM) -> dict[str, SourceError]:
    source = HubRepository(REPOSITORY, DEFAULT_COMMIT, limits=limits)
    files = [remote(name) for name in names]
    failures = source.fetch(files, lambda file: store.writer(file.path, digest=file.sha256, size=file.size))
    return {failure.file.path: failure.error for failure in failures}


@pytest.fixture
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)


# --- secrets ---


@pytest.mark.hostile
@pytest.mark.parametrize("storage_host", ["127.0.0.1", "localhost"])
def test_the_token_is_not_sent_to_another_origin(
    monkeypatch: pytest.MonkeyPatch, store: Store, storage_host: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with HubSimulator(storage_host=storage_host) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        hub.add_model(REPOSITORY, FILES, token=TOKEN)
        hub.fault(LARGE, faults.CutAfter(1000), times=1)
        assert fetch(store, SMALL, LARGE) == {}
        sent = {request.origin: request.headers.get("authorization") for request in hub.requests}
    assert sent == {"hub": f"Bearer {TOKEN}", "storage": None}


TROUBLE = [
    (Status(403), "content"),
    (Status(500), "content"),
    (faults.Silence(), "content"),
    (faults.Garbage(), "content"),
    (faults.CutAfter(0), "content"),
    (faults.WrongBytes(), "content"),
    (faults.Longer(1), "content"),
    (faults.RedirectLoop(), "content"),
    (Status(401), "redirect"),
    (Status(302, {"Location": f"http://user:{TOKEN}@127.0.0.1:9/x?{SIGNATURE}=abc"}), "redirect"),
    (Status(302, {"Location": f"nonsense://user:{TOKEN}@x?{SIGNATURE}=abc"}), "redirect"),
]


@pytest.mark.hostile
@pytest.mark.usefixtures("_token")
@pytest.mark.parametrize(("fault", "at"), TROUBLE, ids=str)
def test_no_secret_is_in_an_error_or_a_log(
    hub: HubSimulator,
    caplog: pytest.LogCaptureFixture,
    store: Store,
    fault: faults.Fault,
    at: str,
) -> None:
    hub.add_model(REPOSITORY, FILES, token=TOKEN)
    hub.fault(LARGE, fault, at="redirect" if at == "redirect" else "content")
    caplog.set_level(logging.DEBUG)
    error = fetch(store, LARGE, limits=limits_for(fault))[LARGE]
    assert LARGE in str(error)
    for secret in (TOKEN, SIGNATURE):
        assert secret not in str(error)
        ours = [record for record in caplog.records if record.name.startswith("thoth_models")]
        assert not [record for record in ours if secret in record.getMessage()]


@pytest.mark.hostile
def test_what_libraries_log_has_signed_addresses_but_no_token(
    hub: HubSimulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, store: Store
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.add_model(REPOSITORY, FILES, token=TOKEN)
    caplog.set_level(logging.DEBUG)
    HubRepository(REPOSITORY, "main", limits=CALM).list_files()
    assert fetch(store, LARGE) == {}
    loggers = {record.name.partition(".")[0] for record in caplog.records}
    assert {"httpx2", "httpcore2"} <= loggers
    assert TOKEN not in caplog.text
    # Known, and why nobody should turn those loggers on in a log that others read: an address is good for an hour.
    signed = {record.name.partition(".")[0] for record in caplog.records if SIGNATURE in record.getMessage()}
    assert signed == {"httpx2", "httpcore2"}


@pytest.mark.hostile
def test_a_password_in_the_endpoint_is_used_and_not_told(
    hub: HubSimulator, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    hub.add_model(REPOSITORY, FILES)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint.replace("://", "://user:pass%40word@"))
    source = HubRepository(REPOSITORY, "main", limits=CALM)
    assert source.list_files().revision == DEFAULT_COMMIT
    assert fetch(store, SMALL) == {}
    assert {request.headers["authorization"].split()[0] for request in hub.requests} == {"Basic"}
    hub.fault("*", faults.Silence())
    source = HubRepository(REPOSITORY, "main", limits=QUICK)
    with pytest.raises(SourceUnreachableError, match=r"from http://\*\*\*@127\.0\.0\.1:\d+, found") as caught:
        source.list_files()
    messages = [str(caught.value), str(fetch(store, LARGE, limits=QUICK)[LARGE]), source.label]
    assert "***@127.0.0.1" in messages[1]
    assert not [message for message in messages if "word" in message]


@pytest.mark.hostile
def test_the_cause_of_an_error_tells_no_token_either(
    hub: HubSimulator, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.add_model(REPOSITORY, FILES)
    hub.fault("api", Status(500))
    hub.fault(LARGE, faults.Silence())
    with pytest.raises(SourceError) as caught:
        HubRepository(REPOSITORY, "main", limits=CALM).list_files()
    for error in (caught.value, fetch(store, LARGE, limits=QUICK)[LARGE]):
        assert TOKEN not in "".join(traceback.format_exception(error))


# --- what it leaves alone ---

USE = """
import sys
from pathlib import Path
from thoth_models_builder.sources.hub import HubRepository
from thoth_models_builder.sources.limits import Limits
from thoth_models_builder.storage.store import Store

store = Store(Path(sys.argv[1]))
source = HubRepository(sys.argv[2], "main", limits=Limits())
files = source.list_files().files
assert source.fetch(files, lambda file: store.writer(file.path, digest=file.sha256, size=file.size)) == []
"""


@pytest.mark.hostile
def test_the_hubs_own_cache_is_not_used_and_nothing_else_is_asked(
    hub: HubSimulator, tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    hub.add_model(REPOSITORY, FILES)
    home = tmp_path / "home"
    home.mkdir()
    # A process of its own, because the library looks for its directories when it is imported.
    environment = environment_of_children(HF_HOME=str(home / "hf"), HOME=str(home), XDG_CACHE_HOME=str(home / "cache"))
    environment.pop("HF_HUB_DISABLE_TELEMETRY", None)
    result = run_python("-c", USE, str(tmp_path / "store"), REPOSITORY, environment=environment)
    assert result.returncode == 0, result.stderr
    assert list(home.iterdir()) == []
    paths = sorted(request.path.partition("/lfs/")[0] for request in hub.requests)
    base = f"/{REPOSITORY}/resolve/{DEFAULT_COMMIT}"
    assert paths == ["", f"/api/models/{REPOSITORY}/revision/main", f"{base}/{SMALL}", f"{base}/{LARGE}"]
    assert {request.method for request in hub.requests} == {"GET"}


# --- proxies ---


class ForwardProxy:
    """Passes plain HTTP requests on, as the proxy of a company does."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.credentials: list[str | None] = []

    def __enter__(self) -> Self:
        self._server = ConnectionServer(
            lambda server, connection: (RequestReader(partial(self._answer, connection), connection, server), None)[1]
        )
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.stop()
        assert self._server.failures == []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.port}"

    def _answer(self, connection: socket.socket, handler: BaseHTTPRequestHandler) -> bool:
        self.asked.append(handler.path)
        self.credentials.append(handler.headers.get("Proxy-Authorization"))
        target = urlsplit(handler.path)
        upstream = http.client.HTTPConnection(target.hostname or "", target.port, timeout=5)
        headers = {name: value for name, value in handler.headers.items() if not name.lower().startswith("proxy-")}
        upstream.request(handler.command, f"{target.path}?{target.query}", headers=headers)
        response = upstream.getresponse()
        lines = [f"HTTP/1.1 {response.status} {response.reason}"]
        lines += [f"{name}: {value}" for name, value in response.getheaders() if name.lower() != "connection"]
        lines.append("Connection: close")
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + response.read())
        upstream.close()
        return False


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    with ForwardProxy() as running:
        yield running


@pytest.fixture(autouse=True)
def _fresh_client() -> Iterator[None]:
    # The library keeps one client for a process, with the proxies of the moment it was made.
    from huggingface_hub.utils._http import close_session

    close_session()
    yield
    close_session()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_is_used_for_metadata_and_bytes(
    hub: HubSimulator, monkeypatch: pytest.MonkeyPatch, store: Store, proxy: ForwardProxy, variable: str
) -> None:
    hub.add_model(REPOSITORY, FILES)
    monkeypatch.setenv(variable, f"http://someone:pass@{proxy.address}")
    HubRepository(REPOSITORY, "main", limits=CALM).list_files()
    assert fetch(store, SMALL, LARGE) == {}
    assert len(proxy.asked) == len(hub.requests) == 4
    assert all(address.startswith(hub.endpoint) for address in proxy.asked)
    assert set(proxy.credentials) == {"Basic c29tZW9uZTpwYXNz"}
    assert not [request for request in hub.requests if "proxy-authorization" in request.headers]


def test_a_proxy_is_not_used_where_the_user_says_so(
    hub: HubSimulator, monkeypatch: pytest.MonkeyPatch, store: Store, proxy: ForwardProxy
) -> None:
    hub.add_model(REPOSITORY, FILES)
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    HubRepository(REPOSITORY, "main", limits=CALM).list_files()
    assert fetch(store, SMALL, LARGE) == {}
    assert proxy.asked == []
    assert len(hub.requests) == 4


def test_a_proxy_that_is_not_there_is_a_source_out_of_reach(
    hub: HubSimulator, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTP_PROXY", f"http://someone:{TOKEN}@127.0.0.1:{unused.getsockname()[1]}")
        error = fetch(store, SMALL)[SMALL]
        with pytest.raises(SourceUnreachableError) as caught:
            HubRepository(REPOSITORY, "main", limits=CALM).list_files()
    assert isinstance(error, SourceUnreachableError)
    assert TOKEN not in str(error) + str(caught.value)
    assert hub.accepted == 0
    assert "HF_ENDPOINT" in os.environ
