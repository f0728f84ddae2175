"""Downloads from a server with TLS: which variable decides whom to trust, and what the error says."""

from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from huggingface_hub.utils._http import close_session

from tests.support.downloads import FILES, QUICK, REPOSITORY, SMALL, Downloads, remote
from tests.support.registry_server import certificate
from thoth_models_builder.errors import SourceError, SourceUnreachableError
from thoth_models_builder.sources.hub import HubRepository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(FILES[SMALL])))
        self.end_headers()
        self.wfile.write(FILES[SMALL])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    return certificate(tmp_path / "tls")[1]


@pytest.fixture
def endpoint(chain: Path) -> Iterator[str]:
    """A server with TLS, whose certificate it has signed itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, chain.with_name("key.pem"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that do not trust it go away
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_files_come_from_a_server_with_these_certificates(
    downloads: Downloads, endpoint: str, chain: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(chain))
    assert downloads.fetch([remote(SMALL)], endpoint=endpoint) == {}


@pytest.mark.hostile
def test_a_server_with_an_untrusted_certificate_is_not_asked_again(downloads: Downloads, endpoint: str) -> None:
    error = downloads.fetch([remote(SMALL)], endpoint=endpoint)[SMALL]
    assert isinstance(error, SourceUnreachableError)
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert "set REQUESTS_CA_BUNDLE or SSL_CERT_FILE" in str(error)
    assert "attempts" not in str(error)


def test_a_server_without_tls_is_not_about_certificates(downloads: Downloads) -> None:
    error = downloads.fetch([remote(SMALL)], endpoint=downloads.hub.endpoint.replace("http:", "https:"))[SMALL]
    assert isinstance(error, SourceUnreachableError)
    assert "SSL" in str(error)
    assert "SSL_CERT_FILE" not in str(error)
    assert "attempts" not in str(error)


def test_the_client_of_the_hub_trusts_the_same(endpoint: str, chain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    repository = HubRepository(REPOSITORY, "main", limits=QUICK)
    close_session()
    with pytest.raises(SourceUnreachableError, match=r"CERTIFICATE_VERIFY_FAILED(.|\n)*set REQUESTS_CA_BUNDLE"):
        repository.list_files()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(chain))
    close_session()
    with pytest.raises(SourceError) as caught:  # what this server sends is no metadata
        HubRepository(REPOSITORY, "main", limits=QUICK).list_files()
    assert "CERTIFICATE" not in str(caught.value)
    close_session()


def test_the_error_names_the_variable(
    downloads: Downloads, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = certificate(tmp_path / "other")[1]
    monkeypatch.setenv("CURL_CA_BUNDLE", str(other))
    assert f"(CURL_CA_BUNDLE is {other})" in str(downloads.fetch([remote(SMALL)], endpoint=endpoint)[SMALL])


def test_a_file_that_is_not_there_is_named(downloads: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/to/be/found")
    error = downloads.fetch([remote(SMALL)])[SMALL]
    assert str(error).startswith("expected proxies and certificates as the environment names them, found ")
    assert str(error).endswith("(REQUESTS_CA_BUNDLE is /nowhere/to/be/found)")
