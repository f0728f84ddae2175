"""The room that talks to a Docker engine: a real one, and others that a real one should never be."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import ssl
import subprocess
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.support.docker_archives import (
    VERSION,
    FakeEngine,
    classic,
    configuration,
    newer,
    reply,
    send,
    swallow,
)
from tests.support.hand_layouts import blobs, sha256, tar
from tests.support.registry_server import certificate, needs
from thoth_models_builder.engine import client as engine
from thoth_models_builder.errors import (
    BuildError,
    EngineError,
    EngineUnavailableError,
    ImageNotFoundError,
    ImageReferenceError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

LAYERS = (tar({"models/a": b"a" * 70_000}), tar({"models/b": b"b"}))


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("DOCKER_")]:
        if name != "DOCKER_HOST":
            monkeypatch.delenv(name)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker"))


@pytest.fixture
def fake(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    # Not tmp_path: the path of a socket has room for about a hundred characters.
    path = tmp_path_factory.mktemp("e") / "s"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with FakeEngine(path) as server:
        yield server


@pytest.fixture
def image() -> Iterator[str]:
    """The name of an image that is removed from the real engine afterwards."""
    docker = needs("docker")
    name = f"thoth-test-engine-{uuid.uuid4().hex[:12]}:1"
    yield name
    subprocess.run([docker, "image", "rm", "--force", name], capture_output=True, check=False)


def pieces(data: bytes, size: int = 65_536) -> Iterator[bytes]:
    for offset in range(0, len(data), size):
        yield data[offset : offset + size]


def serve_image(fake: FakeEngine, data: bytes, name: str = "made:1") -> None:
    fake.answers[f"/images/{name}/json"] = reply({"Id": "sha256:" + "1" * 64})
    fake.answers[f"/images/{name}/get"] = send(data)


@pytest.mark.docker
def test_a_real_engine_says_who_it_is() -> None:
    found = engine.available()
    assert found is not None
    stated = subprocess.run(
        [needs("docker"), "version", "--format", "{{.Server.Version}} {{.Server.Os}} {{.Server.Arch}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{found.version} {found.os} {found.architecture}" == stated.stdout.strip()


@pytest.mark.docker
def test_an_image_goes_into_a_real_engine_and_comes_back(tmp_path: Path, image: str) -> None:
    config = configuration(LAYERS)
    identity = engine.load(pieces(classic(image, LAYERS, config)), image).id
    assert identity == f"sha256:{sha256(config)}"
    digest = engine.save(image, tmp_path / "layout")
    found = blobs(tmp_path / "layout")
    assert found[sha256(LAYERS[0])] == LAYERS[0]
    assert found[sha256(LAYERS[1])] == LAYERS[1]
    assert found[sha256(config)] == config
    assert set(found) == {*map(sha256, LAYERS), sha256(config), str(digest)}
    assert not (tmp_path / "layout/.incoming").exists()
    # By its id too, with the same bytes.
    assert engine.save(identity, tmp_path / "again") == digest
    assert blobs(tmp_path / "again") == found


@pytest.mark.docker
def test_skopeo_reads_the_layout_of_a_real_engines_image(tmp_path: Path, image: str) -> None:
    engine.load(pieces(classic(image, LAYERS)), image)
    digest = engine.save(image, tmp_path / "layout")
    seen = subprocess.run(
        [needs("skopeo"), "inspect", f"oci:{tmp_path}/layout"], capture_output=True, text=True, check=True
    )
    assert json.loads(seen.stdout)["Digest"] == f"sha256:{digest}"
    assert json.loads(seen.stdout)["Layers"] == [f"sha256:{sha256(layer)}" for layer in LAYERS]
    assert json.loads(seen.stdout)["Architecture"] == "amd64"


@pytest.mark.docker
def test_a_real_engine_does_not_have_what_nobody_gave_it(tmp_path: Path) -> None:
    with pytest.raises(ImageNotFoundError, match="expected HTTP status 200, found 404"):
        engine.save(f"thoth-test-engine-{uuid.uuid4().hex}:1", tmp_path / "layout")
    assert not (tmp_path / "layout").exists()


@pytest.mark.docker
def test_a_real_engine_refuses_what_is_no_archive(image: str) -> None:
    with pytest.raises(EngineError, match="expected"):
        engine.load(iter([b"this is no archive" * 1000]), image)


@pytest.mark.docker
def test_a_real_engine_is_not_left_with_half_an_image(image: str) -> None:
    """What the stream raises is raised as it is, and the engine has no image of that name."""

    def cut() -> Iterator[bytes]:
        yield from pieces(classic(image, LAYERS)[:40_000])
        raise BuildError("the disk is gone")

    with pytest.raises(BuildError, match="the disk is gone"):
        engine.load(cut(), image)
    gone = subprocess.run([needs("docker"), "image", "inspect", image], capture_output=True, check=False)
    assert gone.returncode != 0


@pytest.mark.hostile
@pytest.mark.docker
def test_an_archive_that_names_another_image_is_told(image: str) -> None:
    with pytest.raises(EngineError, match=rf"expected the archive to bring other:1, found Loaded image: {image}"):
        engine.load(pieces(classic(image, LAYERS)), "other:1")


def test_nothing_at_the_socket_is_no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing")
    assert engine.available() is None
    with pytest.raises(EngineUnavailableError, match="nothing: expected a Docker engine, found ConnectError"):
        engine.load(iter([b""]), "a:1")
    with pytest.raises(EngineUnavailableError, match="expected a Docker engine"):
        engine.save("a:1", tmp_path / "layout")


@pytest.mark.hostile
def test_a_socket_that_accepts_and_stays_silent_is_refused_soon(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("e") / "s"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        started = time.monotonic()
        assert engine.available(seconds=0.5) is None
        assert 0.4 < time.monotonic() - started < 5
        # The positive control: somebody was there, and had been asked.
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.recv(100).startswith(b"GET /version")


@pytest.mark.hostile
def test_an_answer_that_drips_is_refused_soon(fake: FakeEngine) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        while not fake.ended.wait(0.1):
            handler.wfile.write(b" ")

    fake.answers["/version"] = drip
    started = time.monotonic()
    assert engine.available(seconds=1) is None
    assert 0.9 < time.monotonic() - started < 5


@pytest.mark.hostile
@pytest.mark.parametrize(
    "answer",
    [
        reply({"message": "go away"}, 500),
        reply([]),
        reply({"Version": "1"}),
        reply({**VERSION, "ApiVersion": "1.41/../../"}),
        send(b"<html>"),
        send(b'{"Vers', length=100),
        send(b" " * 5_000_000),
    ],
)
def test_something_else_that_answers_is_refused(
    answer: Callable[[BaseHTTPRequestHandler], None], fake: FakeEngine
) -> None:
    assert engine.available() is not None
    fake.answers["/version"] = answer
    assert engine.available() is None


@pytest.mark.parametrize("host", ["ssh://somewhere", "tcp://", "unix://", "no-address", "tcp://host:port"])
def test_a_host_that_cannot_be_used_is_named(host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert engine.available() is None
    with pytest.raises(EngineUnavailableError, match="DOCKER_HOST: expected"):
        engine.save("a:1", tmp_path / "layout")


def test_the_context_of_docker_says_where_the_engine_is(
    fake: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host = os.environ["DOCKER_HOST"]
    monkeypatch.delenv("DOCKER_HOST")
    directory = tmp_path / "docker"
    meta = directory / "contexts/meta" / hashlib.sha256(b"rootless").hexdigest()
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps({"Name": "rootless", "Endpoints": {"docker": {"Host": host}}}))
    (directory / "config.json").write_text(json.dumps({"currentContext": "rootless"}))
    monkeypatch.setenv("DOCKER_CONFIG", str(directory))
    found = engine.available()
    assert found is not None
    assert (found.host, found.version) == (host, VERSION["Version"])


def test_an_engine_behind_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            reply(VERSION)(self)

    # A proxy of the environment does not come between.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
        found = engine.available()
    assert found is not None
    assert found.api_version == "1.46"


def test_an_engine_behind_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            reply(VERSION)(self)

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing of clients that are refused."""

    key, chain = certificate(tmp_path / "tls")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(chain))
    context.load_cert_chain(chain, key)
    context.verify_mode = ssl.CERT_REQUIRED
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path / "mine"))
    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
            with pytest.raises(EngineUnavailableError, match=r"mine: expected ca\.pem, cert\.pem and key\.pem"):
                engine.save("a:1", tmp_path / "layout")
            (tmp_path / "mine").mkdir()
            for name, file in (("ca", chain), ("cert", chain), ("key", key)):
                (tmp_path / f"mine/{name}.pem").write_bytes(file.read_bytes())
            found = engine.available()
            # The positive control: without the certificate of the client nobody is let in.
            monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path / "other"))
            _, other = certificate(tmp_path / "other-key")
            (tmp_path / "other").mkdir()
            (tmp_path / "other/ca.pem").write_bytes(chain.read_bytes())
            (tmp_path / "other/cert.pem").write_bytes(other.read_bytes())
            (tmp_path / "other/key.pem").write_bytes((tmp_path / "other-key/key.pem").read_bytes())
            stranger = engine.available()
        finally:
            server.shutdown()
            thread.join()
    assert found is not None
    assert found.version == VERSION["Version"]
    assert stranger is None


def test_a_refusal_that_comes_with_the_answer_is_no_engine() -> None:
    async def refused() -> None:
        raise ssl.SSLError("tlsv1 alert unknown ca")

    with engine._Connection() as connection, pytest.raises(EngineUnavailableError, match=r"found SSLError.*unknown ca"):
        connection.call(refused())


def test_the_newest_api_of_the_engine_is_spoken(fake: FakeEngine, tmp_path: Path) -> None:
    serve_image(fake, newer("made:1", LAYERS))
    engine.save("made:1", tmp_path / "layout")
    assert fake.seen == ["/version", "/v1.46/images/made:1/json", "/v1.46/images/made:1/get"]


@pytest.mark.hostile
def test_an_archive_that_stops_in_the_middle_is_not_waited_for(fake: FakeEngine, tmp_path: Path) -> None:
    def stop(handler: BaseHTTPRequestHandler) -> None:
        send(classic("made:1", LAYERS)[:40_000], length=1_000_000)(handler)
        handler.wfile.flush()
        fake.silent(handler)

    serve_image(fake, b"")
    fake.answers["/images/made:1/get"] = stop
    started = time.monotonic()
    with pytest.raises(EngineUnavailableError, match="to answer within 1 s, found it silent"):
        engine.save("made:1", tmp_path / "layout", deadline=1)
    assert time.monotonic() - started < 5


@pytest.mark.hostile
def test_an_engine_that_takes_nothing_more_is_not_waited_for(fake: FakeEngine) -> None:
    fake.answers["/images/load"] = fake.silent
    started = time.monotonic()
    with pytest.raises(EngineUnavailableError, match="to answer within 1 s, found it silent"):
        engine.load(iter([b"x" * 65_536] * 1000), "made:1", deadline=1)
    assert time.monotonic() - started < 5


def test_what_is_loaded_arrives_as_it_was_given(fake: FakeEngine) -> None:
    data = classic("made:1", LAYERS)
    received: list[bytes] = []
    fake.answers["/images/load"] = swallow(reply({"stream": "Loaded image: made:1\n"}), received)
    layers = ["sha256:" + "3" * 64]
    fake.answers["/images/made:1/json"] = reply({"Id": "sha256:" + "2" * 64, "RootFS": {"Layers": layers}})
    assert engine.load(pieces(data), "made:1") == engine.EngineImage(id="sha256:" + "2" * 64, layers=tuple(layers))
    assert b"".join(received) == data


@pytest.mark.parametrize("between", ["", " ", "\n", "\r\n", "noise"])
def test_an_error_behind_other_answers_is_seen(fake: FakeEngine, between: str) -> None:
    answer = between.join(['{"stream": "reading {"}', '{"error": "no space left on device"}']).encode()
    fake.answers["/images/load"] = swallow(send(answer), [])
    with pytest.raises(EngineError, match="found no space left on device"):
        engine.load(pieces(classic("made:1", LAYERS)), "made:1")


def test_an_error_after_status_200_is_one_too(fake: FakeEngine) -> None:
    fake.answers["/images/load"] = swallow(reply({"error": "no space left on device"}), [])
    with pytest.raises(EngineError, match="expected the archive to be loaded, found no space left on device"):
        engine.load(iter([b"x"]), "made:1")


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["", "a b", "../version", "a?b", "a\nb", "-a", "a" * 600])
def test_an_image_name_that_is_none_is_never_asked_for(name: str, fake: FakeEngine, tmp_path: Path) -> None:
    with pytest.raises(ImageReferenceError, match="expected NAME:TAG, or an id"):
        engine.save(name, tmp_path / "layout")
    assert fake.seen == []
