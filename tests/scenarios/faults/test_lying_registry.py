"""A registry that says one thing and does another while it is pushed to is found out, and the next push is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.hand_layouts import blobs, tar, write_image
from tests.support.projects import environment_of_children
from tests.support.registry_server import Fault, FaultyProxy, RegistryServer, docker_configuration, status
from thoth_models_builder.errors import RegistryError
from thoth_models_builder.registry.client import Limits, pull, push

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

pytestmark = pytest.mark.hostile

QUICK = Limits(backoff=0.01, max_backoff=0.02, attempts=2)
LAYER = tar({"models/a": b"a" * 1000})


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(docker_configuration(tmp_path / "docker")))


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
    write_image(tmp_path / "layout", LAYER)
    return tmp_path / "layout"


def has_all(handler: BaseHTTPRequestHandler) -> bool:
    """Say that there is a blob, whatever was asked for."""
    handler.send_response(200)
    handler.end_headers()
    return True


def has_half(handler: BaseHTTPRequestHandler) -> bool:
    """Say that a blob has 7 bytes."""
    handler.send_response(200)
    handler.send_header("Content-Length", "7")
    handler.end_headers()
    return True


BLOB, UPLOAD, MANIFEST = "/blobs/sha256:", "/blobs/uploads/", "/manifests/1$"

LIES: dict[str, tuple[list[tuple[str, str, Callable[..., bool]]], str]] = {
    "it has a blob that it lacks": (
        [("HEAD", BLOB, has_all)],
        r"manifest 1 to be accepted with 201, found HTTP status 4\d\d \(MANIFEST_BLOB_UNKNOWN",
    ),
    "it took a blob, and has none": (
        [("PUT", UPLOAD, status(201))],
        r"expected it to have blob [0-9a-f]+, which it took, found none \(after 2 attempts\)",
    ),
    "it cut a blob short": ([("HEAD", BLOB, has_half)], r"blob [0-9a-f]+: expected \d+ bytes, found 7"),
    "another digest of a blob": (
        [("PUT", UPLOAD, status(201, {"Docker-Content-Digest": f"sha256:{'0' * 64}"}))],
        r"blob [0-9a-f]+: expected sha256:[0-9a-f]{64}, found 'sha256:0+'",
    ),
    "it took the manifest, and has none": (
        [("PUT", MANIFEST, status(201))],
        "manifest 1, which it accepted, found HTTP status 404",
    ),
    "another manifest behind the tag": (
        [("GET", MANIFEST, status(200, body=b'{"schemaVersion":2}'))],
        r"manifest 1: expected sha256:[0-9a-f]{64}, found 'sha256:",
    ),
    "a longer manifest behind the tag": (
        [("GET", MANIFEST, status(200, body=b" " * 10_000))],
        "expected an answer of at most",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_while_we_push_is_found_out(
    lie: str, layout: Path, proxy: FaultyProxy, registry: RegistryServer, tmp_path: Path
) -> None:
    faults, message = LIES[lie]
    proxy.faults = [Fault(*fault) for fault in faults]
    with pytest.raises(RegistryError, match=message) as caught:
        push(layout, f"{proxy.host}/acme/app:1", limits=QUICK)
    assert proxy.host in str(caught.value)
    assert all(fault.happened for fault in proxy.faults)
    # Nothing that the registry did take is in the way of the next push, which is whole.
    proxy.faults.clear()
    report = push(layout, f"{proxy.host}/acme/app:1", limits=QUICK)
    entry = pull(f"{registry.host}/acme/app:1", tmp_path / "back")
    assert entry.digest == report.digest
    assert blobs(tmp_path / "back") == blobs(layout)


def test_the_command_says_what_a_registry_lost(layout: Path, proxy: FaultyProxy, bundle: Path) -> None:
    proxy.faults = [Fault("PUT", UPLOAD, status(201))]
    finished = subprocess.run(
        [sys.executable, "-m", "thoth_models_builder", "image", str(bundle), f"--to=registry:{proxy.host}/acme/app:1"],
        env=environment_of_children(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 4
    assert f"{proxy.host}: expected it to have blob" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_the_layout_of_a_killed_push_is_removed_by_the_next(bundle: Path, proxy: FaultyProxy, tmp_path: Path) -> None:
    """Its layers are in the directory for temporary files, which may be as large as the bundle."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "thoth_models_builder", "image", str(bundle), f"--to=registry:{proxy.host}/a/b:1"]
    options = {"env": environment_of_children(TMPDIR=str(temporary)), "stderr": subprocess.DEVNULL}
    process: list[subprocess.Popen[bytes]] = []

    def end(_: BaseHTTPRequestHandler) -> bool:
        os.kill(process[0].pid, signal.SIGKILL)
        return True

    proxy.faults = [Fault("PUT", UPLOAD, end, times=1)]
    with subprocess.Popen(command, **options) as begun:  # type: ignore[call-overload]
        process.append(begun)
        begun.wait(60)
    assert [path.name.startswith("thoth-bundle-") for path in temporary.iterdir()] == [True]
    proxy.faults.clear()
    assert subprocess.run(command, check=False, timeout=120, **options).returncode == 0  # type: ignore[call-overload]
    assert list(temporary.iterdir()) == []
