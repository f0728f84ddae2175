"""Real registry servers on this computer, a token server for them, and a proxy that misbehaves in front of one."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import subprocess
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

START_SECONDS = 20
SERVICE = "registry.test"
ISSUER = "token-server.test"

USER, WORD = "builder", "correct horse battery staple"
_HASHED = "$2b$04$STiEdyWVhvr2hGvzD6L/TekCgF0OdjtXq7i9qG0XoBrx76K.03C1G"
"""bcrypt of WORD, made beforehand: no test needs a library for it."""

_ACCESS = re.compile(r'"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/1\.1" (?P<status>\d{3}) (?P<size>\d+)')
_LISTENING = re.compile(r"listening on (?P<host>[\d.]+):(?P<port>\d+)(?P<tls>, tls)?")


def needs(program: str) -> str:
    """Return where a program is; without it a test is skipped, but never where tests run unattended."""
    found = shutil.which(program)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed, and the tests that need it must not pass without")
        pytest.skip(f"{program} is not installed")
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One line of a registry's access log."""

    method: str
    path: str
    status: int


class RegistryServer:
    """Debian's ``docker-registry`` with its data below ``root``, on a port of 127.0.0.1 that the system chose."""

    def __init__(self, root: Path, *, environment: Mapping[str, str] | None = None, scheme: str = "http") -> None:
        self._root = root
        self._scheme = scheme
        self._environment = {
            "REGISTRY_HTTP_ADDR": "127.0.0.1:0",
            "REGISTRY_HTTP_SECRET": "the same for every run",
            "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(root / "data"),
            "OTEL_TRACES_EXPORTER": "none",
            **(environment or {}),
        }
        self._configuration = root / "config.yml"
        self._log = root / "log"
        self.host = ""

    def __enter__(self) -> Self:
        program = needs("docker-registry")
        self._root.mkdir(parents=True, exist_ok=True)
        self._configuration.write_text("version: 0.1\nstorage: {filesystem: {}}\nhttp: {}\n")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [program, "serve", str(self._configuration)],
                env={"PATH": os.environ["PATH"], "HOME": str(self._root), **self._environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + START_SECONDS
        while not (match := _LISTENING.search(self.log())):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                pytest.fail(f"docker-registry did not start:\n{self.log()}")
            time.sleep(0.02)
        self.host = f"127.0.0.1:{match['port']}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def requests(self) -> list[Request]:
        """Return everything that was asked so far, in order."""
        return [
            Request(method=match["method"], path=match["path"], status=int(match["status"]))
            for match in _ACCESS.finditer(self.log())
        ]

    def blob_file(self, hexadecimal: str) -> Path:
        """Return where the server keeps a blob."""
        return self._root / "data/docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"


def htpasswd(directory: Path) -> dict[str, str]:
    """Return the settings of a registry that knows :data:`USER` with :data:`WORD`, and nobody else."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "htpasswd"
    file.write_text(f"{USER}:{_HASHED}\n")
    return {
        "REGISTRY_AUTH": "htpasswd",
        "REGISTRY_AUTH_HTPASSWD_REALM": "a registry of the tests",
        "REGISTRY_AUTH_HTPASSWD_PATH": str(file),
    }


def certificate(directory: Path) -> tuple[Path, Path]:
    """Return a key and a certificate for 127.0.0.1 that it signs itself."""
    directory.mkdir(parents=True, exist_ok=True)
    key, chain = directory / "key.pem", directory / "chain.pem"
    subprocess.run(
        [
            *(needs("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-sha256"),
            *("-subj", "/CN=registry.test", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(chain)),
        ],
        check=True,
        capture_output=True,
    )
    return key, chain


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that go away; the tests make them do so."""


class TokenServer:
    """A token server that a real registry trusts: it signs what a user may do, and remembers what was asked.

    Attributes:
        users: Names and passwords.
        allowed: Repository to actions, such as ``{"acme/app": {"pull", "push"}}``; None for everything.
        seconds: How long a token lasts.
        asked: The query of every request.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.users: dict[str, str] = {}
        self.identity_tokens: set[str] = set()
        self.allowed: dict[str, set[str]] | None = None
        self.refuses_unknown = False
        self.seconds = 300
        self.asked: list[dict[str, list[str]]] = []
        self.answers_with: Callable[[BaseHTTPRequestHandler], bool] | None = None

    def __enter__(self) -> Self:
        self._key, self._chain = certificate(self._directory)
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                server._answer(self, parse_qs(urlsplit(self.path).query))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                server._answer(self, parse_qs(body))

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self.realm = f"http://127.0.0.1:{self._server.server_port}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def environment(self) -> dict[str, str]:
        """Return the settings of a registry that trusts this server."""
        return {
            "REGISTRY_AUTH": "token",
            "REGISTRY_AUTH_TOKEN_REALM": self.realm,
            "REGISTRY_AUTH_TOKEN_SERVICE": SERVICE,
            "REGISTRY_AUTH_TOKEN_ISSUER": ISSUER,
            "REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE": str(self._chain),
        }

    def _answer(self, handler: BaseHTTPRequestHandler, query: dict[str, list[str]]) -> None:
        self.asked.append(query)
        if self.answers_with is not None and self.answers_with(handler):
            return
        if not self._knows(handler.headers.get("Authorization"), query):
            handler.send_response(401)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        scopes = [scope for value in query.get("scope", []) for scope in value.split()]
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            granted = set(actions.split(","))
            if self.allowed is not None:
                granted &= self.allowed.get(name, set())
            if self.refuses_unknown and not granted:
                handler.send_response(403)
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            access.append({"type": kind, "name": name, "actions": sorted(granted)})
        body = json.dumps({"token": self._sign(access), "expires_in": self.seconds}).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _knows(self, authorization: str | None, query: dict[str, list[str]]) -> bool:
        if "refresh_token" in query:
            return query["refresh_token"][0] in self.identity_tokens
        if not self.users:
            return True
        if authorization is None or not authorization.startswith("Basic "):
            return False
        user, _, word = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        return self.users.get(user) == word

    def _sign(self, access: list[dict[str, Any]]) -> str:
        certificate_text = "".join(self._chain.read_text().splitlines()[1:-1])
        header = {"typ": "JWT", "alg": "RS256", "x5c": [certificate_text]}
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": "someone",
            "aud": SERVICE,
            "jti": os.urandom(8).hex(),
            "nbf": now - 10,
            "iat": now,
            "exp": now + self.seconds,
            "access": access,
        }
        text = f"{_base64url(json.dumps(header).encode())}.{_base64url(json.dumps(claims).encode())}"
        signed = subprocess.run(
            [needs("openssl"), "dgst", "-sha256", "-sign", str(self._key)],
            input=text.encode(),
            capture_output=True,
            check=True,
        )
        return f"{text}.{_base64url(signed.stdout)}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Fault:
    """What a proxy does with a request instead of passing it on.

    Attributes:
        method: Of the requests that it happens to.
        path: A regular expression that is searched in their path.
        do: Answers, and returns what is left to do: True for nothing, False for passing the request on after all.
        times: How often it happens; None for always.
    """

    method: str
    path: str
    do: Callable[[BaseHTTPRequestHandler], bool]
    times: int | None = None
    happened: int = field(default=0)


class FaultyProxy:
    """Passes requests on to a registry, but for the faults it was given; also on its way back."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.faults: list[Fault] = []
        self.seen: list[tuple[str, str]] = []
        self.authorizations: list[str | None] = []
        self.change_answer: Callable[[str, str, dict[str, str], bytes], tuple[dict[str, str], bytes]] | None = None
        self.ended = threading.Event()

    def __enter__(self) -> Self:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def pass_on(self) -> None:
                proxy._handle(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = pass_on  # noqa: N815 - names of the library

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def silent(self, _: BaseHTTPRequestHandler) -> bool:
        """Keep the connection and say nothing, until the test is over."""
        self.ended.wait(60)
        return True

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        self.seen.append((handler.command, handler.path))
        self.authorizations.append(handler.headers.get("Authorization"))
        for fault in self.faults:
            is_meant = fault.method == handler.command and re.search(fault.path, handler.path)
            if is_meant and (fault.times is None or fault.happened < fault.times):
                fault.happened += 1
                if fault.do(handler):
                    handler.close_connection = True
                    return
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        with closing(http.client.HTTPConnection(self._upstream, timeout=30)) as connection:
            connection.request(handler.command, handler.path, body=body, headers=dict(handler.headers))
            answer = connection.getresponse()
            data = answer.read()
        headers = dict(answer.getheaders())
        if self.change_answer is not None:
            headers, data = self.change_answer(handler.command, handler.path, headers, data)
        handler.send_response(answer.status)
        for name, value in headers.items():
            if name.lower() not in {"connection", "transfer-encoding", "date"}:
                handler.send_header(name, value)
        if "Content-Length" not in headers:
            handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(data)


def status(code: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Callable[..., bool]:
    """Return a fault that answers with a status, after the body of the request was read."""

    def do(handler: BaseHTTPRequestHandler) -> bool:
        handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        handler.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
        return True

    return do


def docker_configuration(directory: Path, **content: Any) -> Path:
    """Write a Docker configuration and return its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(content))
    return directory


def basic(user: str, word: str) -> dict[str, str]:
    """Return the entry of a registry in ``auths``."""
    return {"auth": base64.b64encode(f"{user}:{word}".encode()).decode()}
