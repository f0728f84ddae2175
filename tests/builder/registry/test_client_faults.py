"""Registries that misbehave: each wait has an end, each wrong answer is found out, and what passes is tried again."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.hand_layouts import blobs, sha256, tar, write_image
from tests.support.projects import environment_of_children
from tests.support.registry_server import Fault, FaultyProxy, RegistryServer, status
from thoth_models_builder.errors import (
    CredentialsError,
    ImageReferenceError,
    RegistryError,
    RegistryUnreachableError,
)
from thoth_models_builder.registry.client import Limits, pull, push

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

QUICK = Limits(connect=1, read=1, write=1, commit=1, backoff=0.01, max_backoff=0.05, attempts=3)
SMALL, LARGE = tar({"models/a": b"a" * 1000}), tar({"models/b": b"b" * 900_000})


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path / "registry") as server:
        yield server


@pytest.fixture
def proxy(registry: RegistryServer) -> Iterator[FaultyProxy]:
    with FaultyProxy(registry.host) as server:
        yield server


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    write_image(tmp_path / "layout", SMALL, LARGE)
    return tmp_path / "layout"


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


class Watcher:
    """Adds up what it is told."""

    def __init__(self) -> None:
        self.totals: list[int] = []
        self.moved = 0

    def note(self, message: str) -> None:
        pass

    @contextmanager
    def transfer(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        self.totals.append(total)

        def advance(count: int) -> None:
            self.moved += count

        yield advance


def test_nobody_there(layout: Path) -> None:
    with within(5), pytest.raises(RegistryUnreachableError, match=r"found ConnectError.*\(after 3 attempts\)"):
        push(layout, "127.0.0.1:9/acme/app:1", limits=QUICK)


@pytest.mark.hostile
def test_a_registry_that_accepts_and_stays_silent(layout: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        name = f"127.0.0.1:{listening.getsockname()[1]}/acme/app:1"
        with within(8), pytest.raises(RegistryUnreachableError, match=r"found ReadTimeout \(after 3 attempts\)"):
            push(layout, name, limits=QUICK)
        with (
            within(3),
            pytest.raises(RegistryUnreachableError, match=r"expected to push .* in time, found it unfinished"),
        ):
            push(layout, name, deadline=0.5)
        with within(3), pytest.raises(RegistryUnreachableError, match="expected to pull"):
            pull(name, tmp_path / "back", deadline=0.5)
        # The positive control: somebody was there, and was asked.
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.recv(100).startswith(b"GET /v2/")


@pytest.mark.hostile
def test_headers_that_drip_meet_the_deadline(layout: Path) -> None:
    """Each byte comes within the timeout of the client; only the deadline ends this."""
    stop = threading.Event()

    def drip(listening: socket.socket) -> None:
        accepted, _ = listening.accept()
        with accepted:
            while not stop.wait(0.1):
                try:
                    accepted.send(b"H")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening,))
        thread.start()
        try:
            with within(4), pytest.raises(RegistryUnreachableError, match="found it unfinished after"):
                push(layout, f"127.0.0.1:{listening.getsockname()[1]}/acme/app:1", deadline=1)
        finally:
            stop.set()
            thread.join()


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v2/$"), ("HEAD", "/blobs/"), ("POST", "/uploads/"), ("PUT", "/uploads/"), ("PUT", "/manifests/")],
)
def test_silence_at_any_step_of_a_push_ends(method: str, path: str, layout: Path, proxy: FaultyProxy) -> None:
    proxy.faults.append(Fault(method, path, proxy.silent))
    with within(10), pytest.raises(RegistryUnreachableError, match=r"found (Read|Write)Timeout"):
        push(layout, f"{proxy.host}/acme/app:1", limits=QUICK)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v2/$"), ("HEAD", "/blobs/"), ("POST", "/uploads/"), ("PUT", "/uploads/"), ("PUT", "/man")],
)
def test_trouble_that_passes_is_tried_again(
    method: str, path: str, layout: Path, proxy: FaultyProxy, registry: RegistryServer
) -> None:
    proxy.faults.append(Fault(method, path, status(503, {"Retry-After": "0"}), times=2))
    watcher = Watcher()
    report = push(layout, f"{proxy.host}/acme/app:1", limits=QUICK, watcher=watcher)
    assert proxy.faults[0].happened == 2
    assert watcher.totals == [report.bytes_sent] == [watcher.moved]
    pull(f"{registry.host}/acme/app:1", layout.parent / "back")
    assert blobs(layout.parent / "back") == blobs(layout)


@pytest.mark.parametrize("code", [500, 429])
def test_trouble_that_stays_is_told(code: int, layout: Path, proxy: FaultyProxy) -> None:
    body = b'{"errors": [{"code": "UNKNOWN", "message": "the disk\\nis full"}]}'
    proxy.faults.append(Fault("PUT", "/uploads/", status(code, body=body)))
    expected = rf"found HTTP status {code} \(UNKNOWN: the disk is full\) \(after 3 attempts\)"
    with within(10), pytest.raises(RegistryError, match=expected):
        push(layout, f"{proxy.host}/acme/app:1", limits=QUICK)
    assert not any(path.endswith("/manifests/1") for _, path in proxy.seen)


@pytest.mark.parametrize(
    ("method", "path", "code", "kind", "message"),
    [
        ("GET", "/v2/$", 404, RegistryError, "expected the API of a registry at /v2/"),
        ("HEAD", "/blobs/", 403, CredentialsError, "with no credentials"),
        ("POST", "/uploads/", 404, ImageReferenceError, "expected HTTP status 202 to an upload to acme/app"),
        ("POST", "/uploads/", 403, CredentialsError, "found HTTP status 403"),
        ("PUT", "/uploads/", 413, RegistryError, "to be accepted with 201, found HTTP status 413"),
        ("PUT", "/manifests/", 400, RegistryError, "manifest 1 to be accepted with 201, found HTTP status 400"),
    ],
)
def test_a_refusal_is_told_at_once_to_who_can_do_something(  # noqa: PLR0917 - of parametrize
    method: str, path: str, code: int, kind: type[Exception], message: str, layout: Path, proxy: FaultyProxy
) -> None:
    proxy.faults.append(Fault(method, path, status(code)))
    with within(3), pytest.raises(kind, match=message) as caught:
        push(layout, f"{proxy.host}/acme/app:1", limits=replace(QUICK, concurrency=1))
    assert type(caught.value) is kind
    asked = Counter(line for line in proxy.seen if line[0] == method)
    assert max(asked.values()) == 1


def test_a_connection_that_is_cut_in_the_middle_of_a_blob(layout: Path, proxy: FaultyProxy) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> bool:
        handler.rfile.read(100_000)
        handler.connection.shutdown(socket.SHUT_RDWR)
        return True

    proxy.faults.append(Fault("PUT", "/uploads/", cut, times=2))
    watcher = Watcher()
    report = push(layout, f"{proxy.host}/acme/app:1", limits=QUICK, watcher=watcher)
    assert [blob.outcome for blob in report.blobs] == ["sent"] * 3
    assert watcher.moved == report.bytes_sent


@pytest.mark.hostile
@pytest.mark.parametrize("what", ["/blobs/uploads/", "/manifests/"])
def test_another_digest_than_was_sent_is_an_error(what: str, layout: Path, proxy: FaultyProxy) -> None:
    def lie(method: str, path: str, headers: dict[str, str], data: bytes) -> tuple[dict[str, str], bytes]:
        if method == "PUT" and what in path:
            headers["Docker-Content-Digest"] = f"sha256:{'0' * 64}"
        return headers, data

    proxy.change_answer = lie
    with pytest.raises(RegistryError, match=rf"expected sha256:[0-9a-f]{{64}}, found 'sha256:{'0' * 64}'"):
        push(layout, f"{proxy.host}/acme/app:1", limits=QUICK)


@pytest.mark.hostile
def test_a_registry_that_tells_no_digest_is_asked_for_the_manifest(layout: Path, proxy: FaultyProxy) -> None:
    changed: list[bytes] = []

    def untold(method: str, path: str, headers: dict[str, str], data: bytes) -> tuple[dict[str, str], bytes]:
        headers.pop("Docker-Content-Digest", None)
        if changed and method == "GET" and "/manifests/" in path:
            return headers, data.replace(b" ", b"\t")
        return headers, data

    proxy.change_answer = untold
    push(layout, f"{proxy.host}/acme/app:1", limits=QUICK)
    assert ("GET", "/v2/acme/app/manifests/1") in proxy.seen
    changed.append(b"")
    with pytest.raises(RegistryError, match="manifest 1: expected sha256:"):
        push(layout, f"{proxy.host}/acme/app:1", limits=QUICK)


def test_a_blob_that_is_cut_on_its_way_back_is_continued(layout: Path, proxy: FaultyProxy, tmp_path: Path) -> None:
    push(layout, f"{proxy.host}/acme/app:1")
    proxy.seen.clear()

    def cut(handler: BaseHTTPRequestHandler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(LARGE)))
        handler.end_headers()
        handler.wfile.write(LARGE[:400_000])
        return True

    proxy.faults.append(Fault("GET", f"/blobs/sha256:{sha256(LARGE)}", cut, times=1))
    watcher = Watcher()
    pull(f"{proxy.host}/acme/app:1", tmp_path / "back", limits=QUICK, watcher=watcher)
    assert blobs(tmp_path / "back") == blobs(layout)
    assert watcher.totals == [watcher.moved]
    assert Counter(proxy.seen)[("GET", f"/v2/acme/app/blobs/sha256:{sha256(LARGE)}")] == 2


@pytest.mark.hostile
def test_a_rest_that_begins_elsewhere_is_not_taken(layout: Path, proxy: FaultyProxy, tmp_path: Path) -> None:
    push(layout, f"{proxy.host}/acme/app:1")
    path = f"/blobs/sha256:{sha256(LARGE)}"

    def cut(handler: BaseHTTPRequestHandler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(LARGE)))
        handler.end_headers()
        handler.wfile.write(LARGE[:400_000])
        return True

    other = status(206, {"Content-Range": f"bytes 1-{len(LARGE) - 1}/{len(LARGE)}"}, LARGE[1:])
    proxy.faults += [Fault("GET", path, cut, times=1), Fault("GET", path, other, times=1)]
    watcher = Watcher()
    pull(f"{proxy.host}/acme/app:1", tmp_path / "back", limits=QUICK, watcher=watcher)
    assert blobs(tmp_path / "back") == blobs(layout)
    assert watcher.totals == [watcher.moved]
    assert [fault.happened for fault in proxy.faults] == [1, 1]


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (status(200, body=LARGE[:-1]), r"expected \d+ bytes, found the end after \d+ \(after 3 attempts\)"),
        (status(200, body=LARGE + b"x"), r"expected \d+ bytes, found more"),
        (status(200, body=LARGE[:-1] + b"x"), r"blob: expected sha256 [0-9a-f]{64}, found"),
        (status(404), r"expected blob sha256:.*, found HTTP status 404"),
        (status(302, {"Location": "http://127.0.0.1:9/away"}), r"found ConnectError"),
        (status(302, {"Location": "/v2/loop/blobs/sha256:x"}), r"found"),
    ],
)
def test_a_blob_that_comes_back_wrong(
    answer: Callable[..., bool], message: str, layout: Path, proxy: FaultyProxy, tmp_path: Path
) -> None:
    push(layout, f"{proxy.host}/acme/app:1")
    proxy.faults.append(Fault("GET", f"/blobs/sha256:{sha256(LARGE)}", answer))
    with within(10), pytest.raises(RegistryError, match=message):
        pull(f"{proxy.host}/acme/app:1", tmp_path / "back", limits=QUICK)
    assert not (tmp_path / "back/index.json").exists()
    assert not (tmp_path / "back/blobs/sha256" / sha256(LARGE)).exists()


@pytest.mark.hostile
def test_a_blob_that_drips_is_a_stall(layout: Path, proxy: FaultyProxy, tmp_path: Path) -> None:
    push(layout, f"{proxy.host}/acme/app:1")

    def drip(handler: BaseHTTPRequestHandler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(LARGE)))
        handler.end_headers()
        while not proxy.ended.wait(0.05):
            handler.wfile.write(b"x")
        return True

    proxy.faults.append(Fault("GET", f"/blobs/sha256:{sha256(LARGE)}", drip))
    limits = Limits(read=1, stall_window=0.4, stall_bytes=10_000, backoff=0.01, attempts=2)
    with within(6), pytest.raises(RegistryError, match=r"expected at least 10000 bytes in 0\.4 s, found \d+ in"):
        pull(f"{proxy.host}/acme/app:1", tmp_path / "back", limits=limits)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            status(200, {"Content-Type": "text/html"}, b"<html>"),
            r"manifest 1: expected a document, found an HTML page, as a captive portal or a proxy sends, from http://.+/1$",
        ),
        (status(200, {"Content-Type": "text/html"}, b"{}"), "expected the media type of a manifest or an index"),
        (
            status(200, {"Content-Type": "application/vnd.oci.image.index.v1+json"}, b'{"mediaType": "x"}'),
            r"mediaType: expected application/vnd\.oci\.image\.index\.v1\+json, as it was announced, found 'x'",
        ),
        (status(200, {"Docker-Content-Digest": "sha256:0"}, b"{}"), "expected sha256:0, found sha256:44136fa3"),
        (status(200, body=b"[" * 100_000), "nested too deeply|recursion"),
        (status(200, body=b" " * 5_000_000), "expected an answer of at most 4194304 bytes, found more"),
        (
            status(200, {"Content-Encoding": "gzip"}, b"{}"),
            "expected an answer without encoding, found it encoded as 'gzip'",
        ),
    ],
)
def test_a_manifest_that_comes_back_wrong(
    answer: Callable[..., bool], message: str, proxy: FaultyProxy, tmp_path: Path
) -> None:
    proxy.faults.append(Fault("GET", "/manifests/", answer))
    with within(5), pytest.raises(RegistryError, match=message):
        pull(f"{proxy.host}/acme/app:1", tmp_path / "back", limits=QUICK)


@pytest.mark.hostile
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_page_in_place_of_a_blob_is_called_that(more: int, layout: Path, proxy: FaultyProxy, tmp_path: Path) -> None:
    push(layout, f"{proxy.host}/acme/app:1")
    page = b"<!DOCTYPE html>" + bytes(len(LARGE) - 15 + more)
    answer = Fault("GET", f"/blobs/sha256:{sha256(LARGE)}", status(200, body=page))
    proxy.faults += [answer] * (QUICK.attempts if more < 0 else 1)
    message = r": expected .*, found an HTML page, as a captive portal or a proxy sends, from http://"
    with within(10), pytest.raises(RegistryError, match=message):
        pull(f"{proxy.host}/acme/app:1", tmp_path / "back", limits=QUICK)


@pytest.mark.hostile
def test_another_manifest_than_was_asked_for(proxy: FaultyProxy, tmp_path: Path) -> None:
    proxy.faults.append(Fault("GET", "/manifests/", status(200, body=b"{}")))
    with pytest.raises(RegistryError, match=rf"expected sha256:{'0' * 64}, found sha256:44136fa3"):
        pull(f"{proxy.host}/acme/app@sha256:{'0' * 64}", tmp_path / "back", limits=QUICK)


@pytest.mark.hostile
@pytest.mark.parametrize("location", ["", "ftp://elsewhere/upload"])
def test_an_upload_is_not_sent_to_a_location_that_is_none(location: str, layout: Path, proxy: FaultyProxy) -> None:
    proxy.faults.append(Fault("POST", "/uploads/", status(202, {"Location": location} if location else {})))
    with pytest.raises(RegistryError, match="expected a Location to upload to"):
        push(layout, f"{proxy.host}/acme/app:1", limits=QUICK)


def test_a_mount_that_is_refused_is_a_blob_that_is_sent(layout: Path, proxy: FaultyProxy) -> None:
    proxy.faults.append(Fault("POST", "mount=", status(405)))
    report = push(layout, f"{proxy.host}/acme/app:1", mount_from=[f"{proxy.host}/library/base:1"], limits=QUICK)
    assert {blob.outcome for blob in report.blobs} == {"sent"}


MEASURE = """
import sys
from pathlib import Path
from thoth_models_builder.registry.client import pull, push

def most():
    # Not getrusage, which carries over what the parent had: this one begins with this program.
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])

layout, reference, back, whole = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4:]
before = most()
push(layout, reference)
pull(reference, back)
print((most() - before) // 1024)
for path in whole:
    Path(path).read_bytes()
    print((most() - before) // 1024)
"""


@pytest.mark.hostile
def test_memory_does_not_follow_the_size_of_a_blob(registry: RegistryServer, tmp_path: Path) -> None:
    size = 400 * 1024 * 1024
    layer = bytes(size)
    write_image(tmp_path / "layout", layer)
    paths = [tmp_path / "layout", f"{registry.host}/acme/app:1", tmp_path / "back"]
    finished = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, paths), str(tmp_path / "back/blobs/sha256" / sha256(layer))],
        capture_output=True,
        text=True,
        check=True,
        env=environment_of_children(),
    )
    ours, whole = map(int, finished.stdout.split())
    assert ours < 40, f"{ours} MiB for a blob of 400 MiB"
    # The positive control: a blob that is in memory at once would be seen.
    assert whole >= 400
    assert {path.name for path in (tmp_path / "back/blobs/sha256").iterdir()} == {
        path.name for path in (tmp_path / "layout/blobs/sha256").iterdir()
    }


def test_arguments_of_the_watcher_are_the_bytes_that_travel(layout: Path, registry: RegistryServer) -> None:
    first, second = Watcher(), Watcher()
    report = push(layout, f"{registry.host}/acme/app:1", watcher=first)
    assert first.totals == [report.bytes_sent] == [first.moved]
    push(layout, f"{registry.host}/acme/app:1", watcher=second)
    assert (second.totals, second.moved) == ([], 0)


def test_a_failure_of_one_blob_ends_the_others(proxy: FaultyProxy, tmp_path: Path) -> None:
    layers: list[Any] = [tar({"models/a": bytes([number]) * 1000}) for number in range(12)]
    write_image(tmp_path / "many", *layers)
    proxy.faults.append(Fault("PUT", "/uploads/", status(400), times=1))
    with pytest.raises(RegistryError, match="found HTTP status 400"):
        push(tmp_path / "many", f"{proxy.host}/acme/app:1", limits=Limits(concurrency=2))
    assert sum(method == "PUT" for method, _ in proxy.seen) < 6
