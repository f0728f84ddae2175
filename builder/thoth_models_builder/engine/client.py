"""The client of the Docker engine: check that one is available, load an image, save an image.

It uses the HTTP API of the engine (https://docs.docker.com/reference/api/engine/): five requests, with every wait
bounded. The engine is found by ``DOCKER_HOST``, else by the current context of Docker, else at the usual socket.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote, urlsplit

import httpx2

from thoth_models_builder.engine.archive_reader import write_layout
from thoth_models_builder.errors import EngineError, EngineUnavailableError, ImageNotFoundError, ImageReferenceError
from thoth_models_builder.net.body import read_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator

    from thoth_models.bundle.digest import Digest

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

PROBE_SECONDS = 3.0
"""Time limit for the version of an engine that the user did not ask for."""

_WANTED_SECONDS = 30.0
"""Time limit for the version of an engine that the user asked for, which may be busy with other images."""

TRANSFER_SECONDS = 3600.0
"""Time limit for loading or saving an image."""

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 60.0
_SILENCE_SECONDS = 300.0
"""Longest silence of an engine, which packs or unpacks a large layer before it continues."""

_DEFAULT_HOST = "unix:///var/run/docker.sock"
_MAX_ANSWER_SIZE = 4 * 1024 * 1024
_MAX_REASON_LENGTH = 300
_OK, _NOT_FOUND = 200, 404
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineInfo:
    """A Docker engine that answers.

    Attributes:
        host: Address, such as ``unix:///var/run/docker.sock``.
        version: Version of the engine, such as ``20.10.24``.
        api_version: Newest API version that it supports, such as ``1.41``.
        os: Operating system of its containers, such as ``linux``.
        architecture: Architecture of its containers, such as ``amd64``.
    """

    host: str
    version: str
    api_version: str
    os: str
    architecture: str


def available(*, seconds: float = PROBE_SECONDS) -> EngineInfo | None:
    """Return the engine that answers within ``seconds``, or None; the reason is logged."""
    try:
        with _Connection() as connection:
            return connection.information(seconds)
    except EngineError as error:
        _log.info("%s", error)
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineImage:
    """An image in an engine.

    Attributes:
        id: ``sha256:…`` of the configuration or of the manifest, depending on the image store of the engine.
        layers: Digest of each unpacked layer, ``sha256:…``, lowest first.
    """

    id: str
    layers: tuple[str, ...]


def load(stream: Iterable[bytes], name: str, *, deadline: float = TRANSFER_SECONDS) -> EngineImage:
    """Load a docker-archive into the engine, streamed without a temporary file.

    Args:
        stream: The archive, in pieces. An exception that it raises ends the transfer and is raised unchanged.
        name: ``NAME:TAG`` of the image in the archive.
        deadline: Time limit, in seconds.

    Returns:
        The image that the engine has under that name afterwards. The caller has to compare it: the engine may have kept
        an older image of that name.

    Raises:
        EngineUnavailableError: No engine answers in time.
        EngineError: The engine refuses the archive, or has no image of that name afterwards.
    """
    path = _image_path(name)
    with _Connection(deadline) as connection:
        connection.information(_WANTED_SECONDS)
        loaded = connection.call(connection.post_archive(stream))
        try:
            found = connection.json(f"{path}/json")
        except ImageNotFoundError as error:
            raise EngineError(f"{connection.host}: expected the archive to bring {name}, found {loaded}") from error
    root = found.get("RootFS")
    layers = root.get("Layers") if isinstance(root, dict) else None
    return EngineImage(id=str(found.get("Id")), layers=tuple(map(str, layers if isinstance(layers, list) else [])))


def save(name: str, layout: Path, *, deadline: float = TRANSFER_SECONDS) -> Digest:
    """Save an image of the engine as an OCI image layout, and compare each layer with its digest.

    Args:
        name: ``NAME:TAG`` or an id.
        layout: A new or empty directory.
        deadline: Time limit, in seconds.

    Returns:
        The digest of the manifest.

    Raises:
        ImageNotFoundError: The engine has no such image.
        EngineUnavailableError: No engine answers in time.
        EngineError: The archive is not an image.
        OutputError: The layout cannot be written.
    """
    path = _image_path(name)
    with _Connection(deadline) as connection:
        connection.information(_WANTED_SECONDS)
        # Before requesting the archive: some engines send its status before they look for the image.
        connection.json(f"{path}/json")
        return write_layout(connection.pieces(f"{path}/get"), layout, name)


def _image_path(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ImageReferenceError(f"image name {name[:200]!r}: expected NAME:TAG, or an id")
    return f"/images/{quote(name, safe='/:@')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Endpoint:
    """The address of an engine, with socket or TLS settings."""

    host: str
    url: str
    socket: str | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False)


def _endpoint() -> _Endpoint:
    host = os.environ.get("DOCKER_HOST") or _context_host() or _DEFAULT_HOST
    try:
        address = urlsplit(host)
        port = address.port
    except ValueError as error:
        raise EngineUnavailableError(f"DOCKER_HOST: expected an address, found {host!r:.200}") from error
    if address.scheme == "unix" and address.path:
        return _Endpoint(host=host, url="http://docker", socket=address.path)
    if address.scheme in {"tcp", "http", "https"} and address.hostname:
        shown = f"{address.scheme}://{address.hostname}:{port or 2375}"
        if address.scheme == "https" or os.environ.get("DOCKER_TLS_VERIFY"):
            return _Endpoint(host=shown, url=f"https://{_bracketed(address.hostname)}:{port or 2376}", tls=_tls())
        return _Endpoint(host=shown, url=f"http://{_bracketed(address.hostname)}:{port or 2375}")
    raise EngineUnavailableError(f"DOCKER_HOST: expected unix://, tcp:// or https://, found {address.scheme[:20]!r}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _tls() -> ssl.SSLContext:
    directory = Path(os.environ.get("DOCKER_CERT_PATH") or _configuration_directory())
    try:
        context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
        context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    except OSError as error:
        raise EngineUnavailableError(
            f"{directory}: expected ca.pem, cert.pem and key.pem for the engine, found {error.strerror or error}"
        ) from error
    return context


def _configuration_directory() -> Path:
    stated = os.environ.get("DOCKER_CONFIG")
    return Path(stated) if stated else Path.home() / ".docker"


def _context_host() -> str | None:
    """Return the host of the current context of Docker, which desktop and rootless engines set."""
    directory = _configuration_directory()
    try:
        name = (
            os.environ.get("DOCKER_CONTEXT") or json.loads((directory / "config.json").read_bytes())["currentContext"]
        )
        if name == "default":
            return None
        identity = hashlib.sha256(name.encode()).hexdigest()
        meta = json.loads((directory / "contexts/meta" / identity / "meta.json").read_bytes())
        host = meta["Endpoints"]["docker"]["Host"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return host if isinstance(host, str) else None


class _Connection:
    """A connection to an engine with its own event loop, so that a deadline ends any step."""

    def __init__(self, seconds: float = TRANSFER_SECONDS) -> None:
        self._until = time.monotonic() + seconds
        self._seconds = seconds
        self._version = ""

    def __enter__(self) -> Self:
        endpoint = _endpoint()
        self.host = endpoint.host
        self._runner = asyncio.Runner()
        # An explicit transport, so that proxies of the environment are not used.
        transport = httpx2.AsyncHTTPTransport(uds=endpoint.socket, verify=endpoint.tls or True, trust_env=False)
        timeout = httpx2.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        self._client = httpx2.AsyncClient(base_url=endpoint.url, transport=transport, timeout=timeout, trust_env=False)
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()

    def call(self, work: Awaitable[_T], seconds: float | None = None) -> _T:
        """Await ``work`` within its own time limit and that of the connection."""
        left = self._until - time.monotonic()
        bound = left if seconds is None else min(left, seconds)

        async def bounded() -> _T:
            async with asyncio.timeout(bound):
                return await work

        try:
            return self._runner.run(bounded())
        except TimeoutError as error:
            stated = self._seconds if bound == left else bound
            raise EngineUnavailableError(
                f"{self.host}: expected the Docker engine to answer within {stated:g} s, found it silent"
            ) from error
        except (httpx2.HTTPError, httpx2.StreamError, ssl.SSLError) as error:
            # With TLS 1.3, a refusal of the client certificate arrives with the first answer, and the HTTP client
            # raises SSLError unchanged.
            found = f"{type(error).__name__} {error}".strip()
            raise EngineUnavailableError(f"{self.host}: expected a Docker engine, found {found}") from error

    def information(self, seconds: float) -> EngineInfo:
        """Return version and platform of the engine; later requests use its newest API version."""
        values = self.json("/version", seconds)
        texts = {
            name: value if isinstance(value := values.get(name), str) else ""
            for name in ("Version", "ApiVersion", "Os", "Arch")
        }
        if not re.fullmatch(r"[0-9]+\.[0-9]+", texts["ApiVersion"]):
            raise EngineUnavailableError(f"{self.host}: expected a Docker engine, found something else that answers")
        self._version = f"/v{texts['ApiVersion']}"
        return EngineInfo(
            host=self.host,
            version=texts["Version"],
            api_version=texts["ApiVersion"],
            os=texts["Os"],
            architecture=texts["Arch"],
        )

    def json(self, path: str, seconds: float = _ANSWER_SECONDS) -> dict[str, Any]:
        """Return the JSON object at a path.

        Raises:
            ImageNotFoundError: The answer has status 404.
        """
        data = self.call(self._get(path), seconds)
        try:
            values = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise EngineUnavailableError(
                f"{self.host}: expected JSON of a Docker engine, found something else"
            ) from error
        if not isinstance(values, dict):
            raise EngineUnavailableError(f"{self.host}: expected an answer of a Docker engine, found something else")
        return values

    def pieces(self, path: str) -> Iterator[bytes]:
        """Yield the body of an answer as it arrives."""
        request = self._client.build_request("GET", self._version + path)
        response = self.call(self._client.send(request, stream=True))
        try:
            if response.status_code != _OK:
                raise self.call(self._refusal(response))
            body = response.aiter_raw()
            while piece := self.call(_next(body)):
                yield piece
        finally:
            self._runner.run(response.aclose())

    async def post_archive(self, stream: Iterable[bytes]) -> str:
        """Send an archive and return the message of the engine about the loaded image."""

        async def body() -> AsyncIterator[bytes]:
            for piece in stream:
                yield piece

        # quiet: the progress of the engine would fill the connection, which is not read while the archive is sent.
        request = self._client.build_request(
            "POST",
            f"{self._version}/images/load",
            params={"quiet": "1"},
            content=body(),
            headers={"Content-Type": "application/x-tar"},
        )
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code != _OK:
                raise await self._refusal(response)
            answer = (await self._read(response)).decode("utf-8", "replace")
        finally:
            await response.aclose()
        messages: list[str] = []
        for message in _objects(answer):
            if "error" in message:
                # The status is 200, because the answer had already begun.
                raise EngineError(f"{self.host}: expected the archive to be loaded, found {_shown(message['error'])}")
            messages.append(str(message.get("stream", "")).strip())
        return _shown(", ".join(filter(None, messages))) or "nothing"

    async def _get(self, path: str) -> bytes:
        request = self._client.build_request("GET", self._version + path)
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code != _OK:
                raise await self._refusal(response)
            return await self._read(response)
        finally:
            await response.aclose()

    async def _read(self, response: httpx2.Response) -> bytes:
        return await read_body(response, _MAX_ANSWER_SIZE, lambda message: EngineError(f"{self.host}: {message}"))

    async def _refusal(self, response: httpx2.Response) -> EngineError | ImageNotFoundError:
        try:
            reason = _shown(json.loads(await self._read(response))["message"])
        except (ValueError, KeyError, TypeError, RecursionError):
            reason = "no reason"
        message = f"{self.host}: expected HTTP status 200, found {response.status_code} ({reason})"
        return ImageNotFoundError(message) if response.status_code == _NOT_FOUND else EngineError(message)


async def _next(body: AsyncIterator[bytes]) -> bytes:
    """Return the next piece that is not empty; an empty one at the end."""
    async for piece in body:
        if piece:
            return piece
    return b""


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of an answer, with or without line breaks between them."""
    decoder = json.JSONDecoder()
    while start := text.find("{") + 1:
        text = text[start - 1 :]
        try:
            value, end = decoder.raw_decode(text)
        except (ValueError, RecursionError):
            text = text[1:]
            continue
        yield value
        text = text[end:]


def _shown(text: object) -> str:
    return "".join(character if character.isprintable() else " " for character in str(text))[
        :_MAX_REASON_LENGTH
    ].strip()
