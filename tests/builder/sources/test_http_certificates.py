"""Downloads from a server with TLS: which variable decides whom to trust, and what the error says."""

from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.support.downloads import FILES, SMALL, Downloads, remote
from tests.support.registry_server import certificate
from thoth_models_builder.errors import SourceUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        # Set first, so that what is adopted goes away in the end.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


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


@pytest.mark.parametrize("variable", VARIABLES[:1] + VARIABLES[2:])
def test_files_come_from_a_server_with_these_certificates(
    downloads: Downloads, endpoint: str, chain: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(chain))
    assert downloads.fetch([remote(SMALL)], endpoint=endpoint) == {}


def test_a_server_that_nobody_trusts_is_not_asked_again(downloads: Downloads, endpoint: str) -> None:
    error = downloads.fetch([remote(SMALL)], endpoint=endpoint)[SMALL]
    assert isinstance(error, SourceUnreachableError)
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert "set REQUESTS_CA_BUNDLE or SSL_CERT_FILE" in str(error)
    assert "attempts" not in str(error)


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
