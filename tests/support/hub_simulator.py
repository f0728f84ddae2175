"""A model hub on this computer: a real HTTP server which answers as the Hugging Face Hub does, or fails as asked."""

import hashlib
import json
import re
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Lock
from typing import Literal, Self
from urllib.parse import parse_qs, quote, unquote

from tests.support.hub_faults import (
    BodyFault,
    ConnectionServer,
    Content,
    CutAfter,
    DripHeaders,
    Fault,
    Garbage,
    IgnoreRange,
    Longer,
    RangeFault,
    RedirectLoop,
    Reply,
    RequestReader,
    ShortWithMatchingHeader,
    Silence,
    SilentServer,
    SlowDrip,
    StallAfter,
    Status,
    Truncated,
    Wire,
    WrongBytes,
    WrongRange,
    transmit,
)

__all__ = [
    "DEFAULT_COMMIT", "CutAfter", "DripHeaders", "Fault", "Garbage", "HubSimulator", "IgnoreRange", "Longer",
    "RecordedRequest", "RedirectLoop", "ShortWithMatchingHeader", "Silence", "SilentServer", "SlowDrip", "StallAfter",
    "Status", "Truncated", "WrongBytes", "WrongRange",
]  # fmt: skip

DEFAULT_COMMIT = "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a"
_REPO = r"(?P<repo>[^/]+(?:/[^/]+)?)"
_MODEL_INFO = re.compile(rf"/api/models/{_REPO}(?:/revision/(?P<revision>[^/]+))?")
_PATHS_INFO = re.compile(rf"/api/models/{_REPO}/paths-info/(?P<revision>[^/]+)")
_REFS = re.compile(rf"/api/models/{_REPO}/refs")
_RESOLVE = re.compile(rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
_CACHED = re.compile(rf"/api/resolve-cache/models/{_REPO}/(?P<revision>[0-9a-f]{{40}})/(?P<name>.+)")
LFS_SUFFIXES = (".safetensors", ".bin", ".onnx", ".onnx_data", ".pt", ".h5", ".gguf", ".msgpack")
LFS_SIZE = 10 * 1000 * 1000  # the Hub takes no larger file into git itself, whatever its name


@dataclass(frozen=True)
class RecordedRequest:
    """A request as it arrived, noted before it was answered."""

    method: str
    path: str  # as sent, still percent-encoded, without the query
    query: str
    headers: Mapping[str, str]  # the names in lower case
    origin: Literal["hub", "storage"]
    at: float  # time.monotonic()

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass(frozen=True)
class _StoredFile:
    content: Content
    blob_id: str
    sha256: str | None  # of LFS files only, as in the Hub's answers
    pointer_size: int

    @classmethod
    def of(cls, name: str, source: bytes | Path, lfs: Callable[[str], bool] | None) -> Self:
        content = Content.of(source)
        large = name.endswith(LFS_SUFFIXES) or content.length > LFS_SIZE
        if not (large if lfs is None else lfs(name)):
            return cls(content, _git_blob_id(content.length, content.pieces()), None, 0)
        sha256 = _hexdigest(hashlib.sha256(), content.pieces())
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {content.length}\n".encode()
        return cls(content, _git_blob_id(len(pointer), [pointer]), sha256, len(pointer))

    @property
    def etag(self) -> str:
        return f'"{self.sha256 or self.blob_id}"'

    def path_info(self, name: str) -> dict[str, object]:
        info: dict[str, object] = {
            "type": "file", "oid": self.blob_id, "size": self.content.length, "path": name,
        }  # fmt: skip
        if self.sha256 is not None:
            info["lfs"] = {"oid": self.sha256, "size": self.content.length, "pointerSize": self.pointer_size}
        return info

    def sibling(self, name: str, *, blobs: bool) -> dict[str, object]:
        if not blobs:
            return {"rfilename": name}
        entry: dict[str, object] = {"rfilename": name, "size": self.content.length, "blobId": self.blob_id}
        if self.sha256 is not None:
            entry["lfs"] = {"sha256": self.sha256, "size": self.content.length, "pointerSize": self.pointer_size}
        return entry


@dataclass(frozen=True)
class _Snapshot:
    commit: str
    license: str | None
    files: Mapping[str, _StoredFile]
    card: Mapping[str, object]


@dataclass
class _Repository:
    token: str | None
    gated: bool
    branches: dict[str, str] = field(default_factory=dict)
    snapshots: dict[str, _Snapshot] = field(default_factory=dict)

    def refusal(self, headers: Mapping[str, str]) -> Reply | None:
        sent = headers.get("authorization")
        if (self.token is None and not self.gated) or (self.token is not None and sent == f"Bearer {self.token}"):
            return None
        if self.gated:
            return Reply.error(401 if sent is None else 403, "GatedRepo", "Access to this model is restricted.")
        message = "Invalid username or password." if sent is None else "Invalid credentials in Authorization header"
        return Reply.error(401, None, message)  # without a code, as the Hub


@dataclass(frozen=True)
class _Route:
    """What a request asks for, and the healthy answer to it."""

    kind: Literal["api", "redirect", "content", "other"]
    name: str
    reply: Reply


@dataclass
class _PlannedFault:
    path: str
    fault: Fault
    remaining: int | None
    methods: frozenset[str]
    kind: Literal["content", "redirect"]

    def matches(self, request: RecordedRequest, route: _Route) -> bool:
        if self.remaining == 0 or request.method not in self.methods:
            return False
        if isinstance(self.fault, RangeFault) and request.range is None:
            return False
        if self.path == "*":
            return route.kind != "redirect" or not isinstance(self.fault, BodyFault | RangeFault)
        if self.path == "api":
            return route.kind == "api"
        return self.path == route.name and self.kind == route.kind


class HubSimulator:
    """A hub with the models and the faults a test gives it; it serves between `__enter__` and `__exit__`.

    LFS files are redirected to a signed address, a new one each time. With `storage_host` that address is on a second
    port, hence on another origin, under that name: "127.0.0.1", or "localhost" for another host name too. With
    `resolve_cache` the other files are redirected as well, to a relative address, as the real Hub does.

    With `sizes_by` it is a mirror that drops `?blobs=true` from the model-info route, as olah does: its sizes are on
    the paths-info route, or without that route in the headers of the files alone, or nowhere.
    """

    def __init__(
        self,
        *,
        storage_host: str | None = None,
        resolve_cache: bool = False,
        sizes_by: Literal["listing", "paths-info", "headers", "nothing"] = "listing",
    ) -> None:
        self._sizes_by = sizes_by
        self._storage_host = storage_host
        self._resolve_cache = resolve_cache
        self._lock = Lock()
        self._repositories: dict[str, _Repository] = {}
        self._signed: dict[str, tuple[str, _Snapshot]] = {}
        self._planned: list[_PlannedFault] = []
        self._requests: list[RecordedRequest] = []
        self._bytes_sent: Counter[str] = Counter()
        self._servers: dict[Literal["hub", "storage"], ConnectionServer] = {}

    def __enter__(self) -> Self:
        self._servers = {"hub": ConnectionServer(partial(self._serve, "hub"))}
        if self._storage_host is not None:
            self._servers["storage"] = ConnectionServer(partial(self._serve, "storage"))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        for server in self._servers.values():
            server.stop()
        failures = [failure for server in self._servers.values() for failure in server.failures]
        if failures and kind is None:
            raise ExceptionGroup("the simulated hub failed", failures)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._servers['hub'].port}"

    @property
    def storage_endpoint(self) -> str:
        """Where LFS files are redirected to; the endpoint itself unless there is a `storage_host`."""
        if self._storage_host is None:
            return self.endpoint
        return f"http://{self._storage_host}:{self._servers['storage'].port}"

    @property
    def requests(self) -> list[RecordedRequest]:
        """All requests so far, in the order of their arrival."""
        with self._lock:
            return list(self._requests)

    @property
    def accepted(self) -> int:
        """How many TCP connections there were, to the hub and to its storage."""
        return sum(server.accepted for server in self._servers.values())

    def bytes_sent(self, path: str) -> int:
        """Count the body bytes that left for a file, or with "api" for the model-info route; no error's body counts."""
        with self._lock:
            return self._bytes_sent[path]

    def add_model(
        self,
        repo_id: str,
        files: Mapping[str, bytes | Path],
        *,
        revision: str = DEFAULT_COMMIT,
        branches: Mapping[str, str] | None = None,
        license: str | None = "apache-2.0",  # noqa: A002  # the Hub's word
        card: Mapping[str, object] | None = None,
        lfs: Callable[[str], bool] | None = None,
        gated: bool = False,
        token: str | None = None,
    ) -> str:
        """Publish a commit and return it; a second call for the same repository adds a commit and moves branches.

        A repository with a `token` answers 401 to requests without it. A `gated` one shows its model-info without a
        revision to all, and the rest only to who sends the `token`: 401 without any, 403 with another one.
        """
        stored = {name: _StoredFile.of(name, source, lfs) for name, source in files.items()}
        with self._lock:
            repository = self._repositories.setdefault(repo_id, _Repository(token, gated))
            repository.token, repository.gated = token, gated
            repository.branches.update({"main": revision} if branches is None else branches)
            repository.snapshots[revision] = _Snapshot(revision, license, stored, card or {})
        return revision

    def fault(
        self,
        path: str,
        fault: Fault,
        *,
        times: int | None = None,
        methods: Collection[str] = ("GET",),
        at: Literal["content", "redirect"] = "content",
    ) -> None:
        """Answer requests for a path with a fault: for ever, or the first `times` of them.

        The path is a file of a repository, "api" for the model-info route, or "*" for everything. With a file's name,
        the fault is in the response which carries the content (of an LFS file: the one from storage), or with
        ``at="redirect"`` in the one which redirects to it. Of several faults for a path the oldest comes first.
        """
        if times is not None and times < 1:
            raise ValueError(f"times must be None or at least 1, not {times}")
        with self._lock:
            self._planned.append(_PlannedFault(path, fault, times, frozenset(methods), at))

    def clear_faults(self) -> None:
        with self._lock:
            self._planned.clear()

    def _serve(self, origin: Literal["hub", "storage"], server: ConnectionServer, connection: socket.socket) -> None:
        RequestReader(partial(self._answer, origin, Wire(connection, server.stopping, self._lock)), connection, server)

    def _answer(self, origin: Literal["hub", "storage"], wire: Wire, handler: BaseHTTPRequestHandler) -> bool:
        path, _, query = handler.path.partition("?")
        headers: dict[str, str] = {}
        for name, value in handler.headers.items():
            headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
        request = RecordedRequest(handler.command, path, query, headers, origin, time.monotonic())
        body = handler.rfile.read(int(headers.get("content-length", 0)))
        with self._lock:
            self._requests.append(request)
            match = _PATHS_INFO.fullmatch(path) if request.method == "POST" else None
            route = self._route(request) if match is None else self._paths_info(match, request, body)
            fault = self._take_fault(request, route)
        reply = route.reply
        if isinstance(fault, Status):
            reply = Reply(fault.code, fault.headers, Content.of(fault.body))
        elif isinstance(fault, RedirectLoop):
            reply = Reply.redirect(302, handler.path, {})
        elif route.kind == "content" and reply.status == HTTPStatus.OK and request.method == "GET":
            reply = reply.part(request.range, fault)
        counts = reply.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT) and not isinstance(fault, Status)
        count = partial(self._count, route.name) if counts else None
        return transmit(wire, reply, fault, head_only=request.method == "HEAD", count=count)

    def _count(self, name: str, sent: int) -> None:
        self._bytes_sent[name] += sent

    def _take_fault(self, request: RecordedRequest, route: _Route) -> Fault | None:
        for planned in self._planned:
            if planned.matches(request, route):
                if planned.remaining is not None:
                    planned.remaining -= 1
                return planned.fault
        return None

    def _route(self, request: RecordedRequest) -> _Route:
        if request.method not in ("GET", "HEAD"):
            return _Route("other", "", Reply.error(405, None, "This hub can only be read."))
        if request.origin == ("hub" if self._storage_host is None else "storage") and request.path.startswith("/lfs/"):
            return self._stored(request)
        if request.origin == "hub":
            if match := _REFS.fullmatch(request.path):
                return _Route("content", "refs", self._refs(match, request))
            if match := _MODEL_INFO.fullmatch(request.path):
                return _Route("api", "api", self._model_info(match, request))
            if match := _CACHED.fullmatch(request.path) or _RESOLVE.fullmatch(request.path):
                return self._resolve(match, request, cached=match.re is _CACHED)
        return _Route("other", "", Reply.error(404, None, "Sorry, we can't find the page you are looking for."))

    def _find(self, match: re.Match[str], request: RecordedRequest) -> tuple[_Repository, _Snapshot] | Reply:
        repository, revision = self._repositories.get(match["repo"]), match["revision"]
        if repository is None:
            return Reply.error(404, "RepoNotFound", "Repository not found")
        refusal = repository.refusal(request.headers)
        if refusal is not None and not (repository.gated and revision is None):
            return refusal
        wanted = "main" if revision is None else unquote(revision)
        snapshot = repository.snapshots.get(repository.branches.get(wanted, wanted))
        if snapshot is None:
            return Reply.error(404, "RevisionNotFound", f"Invalid rev id: {wanted}")
        return repository, snapshot

    def _model_info(self, match: re.Match[str], request: RecordedRequest) -> Reply:
        found = self._find(match, request)
        if isinstance(found, Reply):
            return found
        repository, snapshot = found
        blobs = self._sizes_by == "listing" and parse_qs(request.query).get("blobs") in (["true"], ["True"], ["1"])
        info: dict[str, object] = {
            "id": match["repo"],
            "modelId": match["repo"],
            "author": match["repo"].partition("/")[0],
            "sha": snapshot.commit,
            "private": repository.token is not None and not repository.gated,
            "gated": "manual" if repository.gated else False,
            "disabled": False,
            "tags": ["safetensors"],
            "createdAt": "2024-01-02T03:04:05.000Z",
            "lastModified": "2024-02-03T04:05:06.000Z",
            "siblings": [stored.sibling(name, blobs=blobs) for name, stored in snapshot.files.items()],
        }
        if snapshot.license is not None:
            card = {"license": snapshot.license, **snapshot.card}
            info |= {"cardData": card, "tags": ["safetensors", f"license:{snapshot.license}"]}
        return Reply(200, {"Content-Type": "application/json"}, Content.of(json.dumps(info).encode()))

    def _refs(self, match: re.Match[str], request: RecordedRequest) -> Reply:
        repository = self._repositories.get(match["repo"])
        if repository is None:
            return Reply.error(404, "RepoNotFound", "Repository not found")
        if (refusal := repository.refusal(request.headers)) is not None:
            return refusal
        prefixes = {"converts": "refs/convert/", "pullRequests": "refs/pr/", "branches": "", "tags": "refs/tags/"}
        listed: dict[str, list[dict[str, str]]] = {kind: [] for kind in prefixes}
        for name, commit in repository.branches.items():
            kind = next(kind for kind, prefix in prefixes.items() if name.startswith(prefix or name))
            ref = name if name.startswith("refs/") else f"refs/heads/{name}"
            listed[kind].append({"name": name.rpartition("/")[2], "ref": ref, "targetCommit": commit})
        if "include_prs" not in parse_qs(request.query):
            del listed["pullRequests"]
        return Reply(200, {"Content-Type": "application/json"}, Content.of(json.dumps(listed).encode()))

    def _paths_info(self, match: re.Match[str], request: RecordedRequest, body: bytes) -> _Route:
        found = self._find(match, request)
        if self._sizes_by in ("headers", "nothing"):
            found = Reply.error(404, None, "Sorry, we can't find the page you are looking for.")
        if isinstance(found, Reply):
            return _Route("content", "paths-info", found)
        files = found[1].files
        paths = [path for path in parse_qs(body.decode()).get("paths", []) if path in files]
        infos = json.dumps([files[path].path_info(path) for path in paths]).encode()
        return _Route("content", "paths-info", Reply(200, {"Content-Type": "application/json"}, Content.of(infos)))

    def _resolve(self, match: re.Match[str], request: RecordedRequest, *, cached: bool) -> _Route:
        name = unquote(match["name"])
        found = self._find(match, request)
        if isinstance(found, Reply):
            return _Route("content", name, found)
        _, snapshot = found
        headers = {"X-Repo-Commit": snapshot.commit, "Accept-Ranges": "bytes"}
        stored = snapshot.files.get(name)
        if stored is None:
            error = Reply.error(404, "EntryNotFound", "Entry not found")
            return _Route("content", name, replace(error, headers={**error.headers, **headers}))
        if stored.sha256 is not None:
            if self._sizes_by != "nothing":
                headers |= {"X-Linked-Etag": stored.etag, "X-Linked-Size": str(stored.content.length)}
            return _Route("redirect", name, Reply.redirect(302, self._sign(name, snapshot), headers))
        if self._resolve_cache and not cached:
            location = f"/api/resolve-cache/models/{match['repo']}/{snapshot.commit}/{quote(name)}"
            return _Route("redirect", name, Reply.redirect(307, f"{location}?etag={quote(stored.etag)}", headers))
        headers |= {"ETag": stored.etag, "Content-Type": "text/plain; charset=utf-8"}
        return _Route("content", name, Reply(200, headers, stored.content))

    def _sign(self, name: str, snapshot: _Snapshot) -> str:
        signature = secrets.token_hex(32)
        self._signed[signature] = name, snapshot
        query = f"X-Amz-Credential=key%2Fs3%2Faws4_request&X-Amz-Expires=3600&X-Amz-Signature={signature}"
        return f"{self.storage_endpoint}/lfs/{snapshot.files[name].sha256}?{query}"

    def _stored(self, request: RecordedRequest) -> _Route:
        signature = parse_qs(request.query).get("X-Amz-Signature", [""])[0]
        if signature not in self._signed:
            return _Route("other", "", Reply(403, {}, Content.of(b"<Error><Code>SignatureDoesNotMatch</Code></Error>")))
        name, snapshot = self._signed[signature]
        stored = snapshot.files[name]
        headers = {"ETag": stored.etag, "Accept-Ranges": "bytes", "Content-Type": "binary/octet-stream"}
        if request.origin == "hub":
            headers["X-Repo-Commit"] = snapshot.commit  # its client, which follows redirects on the hub, insists
        return _Route("content", name, Reply(200, headers, stored.content))


def _git_blob_id(length: int, pieces: Iterable[bytes]) -> str:
    return _hexdigest(hashlib.sha1(f"blob {length}\0".encode(), usedforsecurity=False), pieces)


def _hexdigest(digest: "hashlib._Hash", pieces: Iterable[bytes]) -> str:
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
