"""``image`` to and from a real registry and a real engine: what travels, and that the same image arrives."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import Sparse, invented_model, make_bundle, make_writable
from tests.support.docker_archives import FakeEngine, classic, configuration, reply, swallow
from tests.support.images import blob, configs, entry, layers, manifests, on_disk, two_models, two_platforms, unpacked
from tests.support.imaging import Quiet, files, make
from tests.support.projects import environment_of_children
from tests.support.registry_server import RegistryServer, needs
from thoth_models_builder.errors import EngineError, ImageNotFoundError
from thoth_models_builder.registry.client import pull, push

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _nobody_in_particular(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker"))


@pytest.fixture
def bundle(place: Path) -> Path:
    two_models(place / "bundle")
    return place / "bundle"


# --- a registry ---


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path / "registry") as server:
        yield server


def uploads(server: RegistryServer, after: int) -> int:
    """Count the blobs that were sent."""
    return sum(1 for request in server.requests()[after:] if request.method == "PUT" and "/uploads/" in request.path)


def test_a_push_sends_what_the_registry_lacks(place: Path, bundle: Path, registry: RegistryServer) -> None:
    name = f"{registry.host}/acme/models:1"
    first = make(bundle, f"registry:{name}")
    # Four layers and two configurations; the layers were needed on disk, but not for longer.
    assert uploads(registry, 0) == 6
    assert {path.name for path in place.iterdir()} == {"bundle"}
    before = len(registry.requests())
    again = make(bundle, f"registry:{name}")
    assert (uploads(registry, before), again.outputs[0].bytes) == (0, 0)
    assert again.digest == first.digest
    before = len(registry.requests())
    make_writable(bundle)
    shutil.rmtree(bundle)
    two_models(bundle, more={"vocab.txt": b"another file\n"})
    changed = make(bundle, f"registry:{name}", f"oci:{place}/layout")
    new = {layer.digest for layer in changed.layers} - {layer.digest for layer in first.layers}
    assert len(new) == 2  # the model that changed, and the top
    assert uploads(registry, before) == 2 + 2
    pull(name, place / "pulled")
    assert entry(place / "pulled")["digest"] == f"sha256:{changed.digest}"
    assert layers(place / "pulled") == layers(place / "layout")


def test_a_base_from_a_registry(place: Path, bundle: Path, registry: RegistryServer) -> None:
    push(two_platforms(place / "base"), f"{registry.host}/acme/python:3")
    before = len(registry.requests())
    report = make(
        bundle,
        f"registry:{registry.host}/acme/models:1",
        f"oci:{place}/layout",
        bases=[f"registry:{registry.host}/acme/python:3"],
    )
    # Layers of the base come from its repository, without being sent again.
    assert uploads(registry, before) == 4 + 2
    assert [manifest.platform for manifest in report.manifests] == ["linux/amd64", "linux/arm64/v8"]
    make(bundle, f"oci:{place}/other", bases=[f"oci:{place}/base"])
    assert [manifest["layers"] for manifest in manifests(place / "layout")] == [
        manifest["layers"] for manifest in manifests(place / "other")
    ]
    labels = configs(place / "layout")[0]["config"]["Labels"]
    assert labels["org.opencontainers.image.base.name"] == f"{registry.host}/acme/python:3"
    with pytest.raises(ImageNotFoundError):
        make(bundle, f"oci:{place}/layout", bases=[f"registry:{registry.host}/acme/nothing:1"])


def test_an_artifact_in_a_registry(place: Path, bundle: Path, registry: RegistryServer) -> None:
    make(bundle, f"registry:{registry.host}/acme/models:1")
    before = len(registry.requests())
    report = make(bundle, f"registry:{registry.host}/acme/models:pack", format="modelpack")
    assert uploads(registry, before) == 1  # its configuration; the layers are there
    pull(f"{registry.host}/acme/models:pack", place / "pulled")
    assert entry(place / "pulled")["digest"] == f"sha256:{report.digest}"
    (manifest,) = manifests(place / "pulled")
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"


# --- an engine ---


def test_an_engine_that_kept_what_it_had_has_not_loaded_it(
    place: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path_factory.mktemp("e") / "s"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{socket}")
    with FakeEngine(socket) as engine:
        engine.answers["/images/load"] = swallow(reply({"stream": "nothing loaded"}), [])
        old = {"Id": "sha256:" + "1" * 64, "RootFS": {"Layers": ["sha256:" + "2" * 64]}}
        engine.answers["/images/models:1/json"] = reply(old)
        with pytest.raises(EngineError, match=r"expected the engine to have the layers .* those of sha256:1"):
            make(bundle, "docker:models:1")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bundle that takes seconds to pack."""
    root = tmp_path_factory.mktemp("large") / "bundle"
    make_bundle(root, [invented_model("mini", more={"weights.bin": Sparse(size=2_000_000_000)})])
    yield root
    make_writable(root)


@pytest.mark.parametrize("target", ["docker-archive:{}/image.tar", "oci:{}/layout"])
def test_a_run_that_is_ended_leaves_nothing_behind(place: Path, large: Path, target: str) -> None:
    """By SIGTERM, as an orchestrator does it."""
    command = [sys.executable, "-m", "thoth_models_builder", "image", str(large)]
    process = subprocess.Popen([*command, "--to", target.replace("{}", str(place))], env=environment_of_children())
    try:
        deadline = time.monotonic() + 60
        while not begun(place):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    assert not begun(place)


def begun(place: Path) -> list[Path]:
    return [*place.glob(".image.tar.*"), *place.glob("layout/.writing-*")]


def docker(*arguments: str, stdin: bytes | None = None) -> bytes:
    finished = subprocess.run([needs("docker"), *arguments], check=True, capture_output=True, input=stdin)
    return finished.stdout


@pytest.fixture
def name() -> Iterator[str]:
    """A name in the engine, which has nothing of that name afterwards."""
    unique = f"thoth-imaging-{uuid.uuid4().hex[:12]}"
    yield unique
    subprocess.run([needs("docker"), "rm", "--force", unique], check=False, capture_output=True)
    listed = docker("image", "ls", "--quiet", unique).split()
    if listed:
        docker("image", "rm", "--force", *{image.decode() for image in listed})


def exported(name: str) -> dict[str, tuple[str, int, bytes | None]]:
    """Everything that the engine unpacked of an image, below ``models``."""
    image = name if ":" in name else f"{name}:latest"
    container = docker("create", "--network=none", image, "nothing").decode().strip()
    try:
        nodes = unpacked([docker("export", container)])
    finally:
        docker("rm", container)
    return {path: (node.kind, node.mode, node.content) for path, node in nodes.items() if path.startswith("models")}


@pytest.mark.docker
def test_the_engine_takes_the_image_without_a_file(place: Path, bundle: Path, name: str) -> None:
    report = make(bundle, f"docker:{name}:1")
    assert {path.name for path in place.iterdir()} == {"bundle"}
    (image,) = json.loads(docker("image", "inspect", f"{name}:1"))
    assert image["Id"] == f"sha256:{report.outputs[0].digest}"
    assert image["RootFS"]["Layers"] == [f"sha256:{layer.digest}" for layer in report.layers]
    assert image["Config"]["Labels"]["thoth-models.bundle-digest"] == f"sha256:{report.bundle_digest}"
    assert exported(f"{name}:1") == on_disk(bundle, "models")


@pytest.mark.docker
def test_the_archive_is_what_the_engine_takes(place: Path, bundle: Path, name: str) -> None:
    report = make(bundle, f"docker-archive:{place}/image.tar", name=f"{name}:2")
    docker("load", "--input", str(place / "image.tar"))
    (image,) = json.loads(docker("image", "inspect", f"{name}:2"))
    assert image["Id"] == f"sha256:{report.outputs[0].digest}"
    assert exported(f"{name}:2") == on_disk(bundle, "models")


@pytest.mark.docker
def test_layers_on_an_image_of_the_engine(place: Path, bundle: Path, name: str) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as file:
        member = tarfile.TarInfo("etc/hostname-of-the-base")
        member.size = 4
        file.addfile(member, io.BytesIO(b"base"))
    docker("import", "--change", "ENV PATH=/opt/bin", "-", f"{name}:base", stdin=archive.getvalue())
    report = make(bundle, f"docker:{name}:3", f"oci:{place}/layout", bases=[f"docker:{name}:base"])
    (image,) = json.loads(docker("image", "inspect", f"{name}:3"))
    assert image["Config"]["User"] == "65532:65532"
    assert image["Config"]["Env"][0] == "PATH=/opt/bin"
    assert image["Config"]["Healthcheck"]["Test"] == ["CMD", "thoth-models", "doctor", "--quick"]
    assert image["RootFS"]["Layers"][1:] == [f"sha256:{layer.digest}" for layer in report.layers]
    assert exported(f"{name}:3") == on_disk(bundle, "models")
    # The same image, whichever way it goes, and the same a second time.
    (config,) = configs(place / "layout")
    assert config["rootfs"]["diff_ids"] == image["RootFS"]["Layers"]
    assert image["Id"] == f"sha256:{report.manifests[0].config_digest}"
    before = files(place / "layout")
    make(bundle, f"oci:{place}/layout", bases=[f"docker:{name}:base"], watcher=Quiet())
    assert files(place / "layout") == before
    with pytest.raises(ImageNotFoundError):
        make(bundle, f"oci:{place}/layout", bases=[f"docker:{name}:nothing"])


@pytest.mark.docker
def test_layers_on_images_of_the_engine_for_two_platforms(place: Path, bundle: Path, name: str) -> None:
    """As the release does it: each base was built on a machine of its own, and brought here as an archive."""
    for architecture in ("amd64", "arm64"):
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as file:
            file.addfile(tarfile.TarInfo(architecture))
        config = configuration([layer.getvalue()], architecture=architecture, os="linux")
        docker("load", stdin=classic(f"{name}:{architecture}", [layer.getvalue()], config))
    report = make(bundle, f"oci:{place}/layout", bases=[f"docker:{name}:amd64", f"docker:{name}:arm64"])
    assert [manifest.platform for manifest in report.manifests] == ["linux/amd64", "linux/arm64"]
    assert [config["architecture"] for config in configs(place / "layout")] == ["amd64", "arm64"]
    for manifest, architecture in zip(manifests(place / "layout"), ("amd64", "arm64"), strict=True):
        nodes = unpacked([blob(place / "layout", layer["digest"]) for layer in manifest["layers"]])
        assert architecture in nodes
        assert nodes["models/manifest.json"].content == (bundle / "manifest.json").read_bytes()


@pytest.mark.docker
def test_a_changed_model_keeps_the_layers_below_it(bundle: Path, name: str) -> None:
    first = make(bundle, f"docker:{name}:1")
    make_writable(bundle)
    shutil.rmtree(bundle)
    two_models(bundle, more={"vocab.txt": b"another file\n"})
    second = make(bundle, f"docker:{name}:2")
    (one,), (two,) = (json.loads(docker("image", "inspect", f"{name}:{tag}")) for tag in "12")
    assert one["RootFS"]["Layers"][:2] == two["RootFS"]["Layers"][:2]
    assert [layer.digest for layer in first.layers[:2]] == [layer.digest for layer in second.layers[:2]]
