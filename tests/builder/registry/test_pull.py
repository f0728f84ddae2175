"""A pull takes an image whole, for the platforms that are asked for, and compares each digest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.hand_layouts import (
    blobs,
    finish,
    flip,
    put_image,
    put_json,
    sha256,
    tar,
    write_image,
    write_two_platforms,
)
from tests.support.registry_server import RegistryServer
from thoth_models_builder.errors import ImageNotFoundError, OutputError, RegistryError
from thoth_models_builder.registry.client import pull, push

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path / "registry") as server:
        yield server


def test_what_is_not_there_is_not_found(tmp_path: Path, registry: RegistryServer) -> None:
    with pytest.raises(
        ImageNotFoundError, match=r"expected an image .*/acme/none:1, found HTTP status 404 \(.*UNKNOWN"
    ):
        pull(f"{registry.host}/acme/none:1", tmp_path / "back")
    write_image(tmp_path / "layout")
    push(tmp_path / "layout", f"{registry.host}/acme/app:1")
    with pytest.raises(ImageNotFoundError, match="404"):
        pull(f"{registry.host}/acme/app@sha256:{'0' * 64}", tmp_path / "back")


def test_a_pull_of_some_platforms_keeps_an_index_of_these(tmp_path: Path, registry: RegistryServer) -> None:
    digest = write_two_platforms(tmp_path / "layout", annotations={"kept": "yes"})
    push(tmp_path / "layout", f"{registry.host}/acme/app:1")
    entry = pull(f"{registry.host}/acme/app:1", tmp_path / "back", platforms=["linux/arm64"])
    assert f"sha256:{entry.digest}" != digest
    index = json.loads(blobs(tmp_path / "back")[str(entry.digest)])
    assert [found["platform"]["architecture"] for found in index["manifests"]] == ["arm64"]
    assert index["annotations"] == {"kept": "yes"}
    # The index, a manifest, a configuration and two layers: nothing of the other platform.
    assert len(blobs(tmp_path / "back")) == 5
    both = pull(f"{registry.host}/acme/app:1", tmp_path / "both", platforms=["linux/arm64", "linux/amd64"])
    assert f"sha256:{both.digest}" == digest
    with pytest.raises(ImageNotFoundError, match="expected an image for linux/s390x, found linux/amd64, linux/arm64"):
        pull(f"{registry.host}/acme/app:1", tmp_path / "none", platforms=["linux/s390x"])


def test_the_platform_of_a_single_image_is_compared_too(tmp_path: Path, registry: RegistryServer) -> None:
    write_image(tmp_path / "layout")
    push(tmp_path / "layout", f"{registry.host}/acme/app:1")
    pull(f"{registry.host}/acme/app:1", tmp_path / "back", platforms=["linux/amd64"])
    with pytest.raises(ImageNotFoundError, match="expected an image for linux/arm64, found linux/amd64"):
        pull(f"{registry.host}/acme/app:1", tmp_path / "none", platforms=["linux/arm64"])
    assert not (tmp_path / "none/index.json").exists()


@pytest.mark.hostile
def test_a_pull_takes_over_blobs_by_their_digest_only(tmp_path: Path, registry: RegistryServer) -> None:
    good, bad = tar({"a": b"a" * 3000}), tar({"b": b"b" * 3000})
    write_image(tmp_path / "layout", good, bad)
    push(tmp_path / "layout", f"{registry.host}/acme/app:1")
    pull(f"{registry.host}/acme/app:1", tmp_path / "back")
    flip(tmp_path / "back/blobs/sha256" / sha256(bad))
    before = len(registry.requests())
    pull(f"{registry.host}/acme/app:1", tmp_path / "back")
    assert blobs(tmp_path / "back") == blobs(tmp_path / "layout")
    assert [
        request.path.rpartition(":")[2] for request in registry.requests()[before:] if "/blobs/" in request.path
    ] == [sha256(bad)]


@pytest.mark.hostile
def test_a_registry_that_lost_a_byte_is_found_out(tmp_path: Path, registry: RegistryServer) -> None:
    layer = tar({"a": b"a" * 300_000})
    write_image(tmp_path / "layout", layer)
    push(tmp_path / "layout", f"{registry.host}/acme/app:1")
    flip(registry.blob_file(sha256(layer)))
    with pytest.raises(RegistryError, match=f"blob: expected sha256 {sha256(layer)}, found"):
        pull(f"{registry.host}/acme/app:1", tmp_path / "back")
    assert not (tmp_path / "back/index.json").exists()
    assert not (tmp_path / "back/blobs/sha256" / sha256(layer)).exists()
    assert not list((tmp_path / "back/blobs/sha256").glob(".*"))


@pytest.mark.hostile
def test_a_pull_writes_into_no_directory_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter").write_text("dear")
    with pytest.raises(OutputError, match="expected an OCI image layout or an empty directory, found other files"):
        pull("127.0.0.1:9/acme/app:1", tmp_path / "home")
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letter"]


def test_documents_of_docker_are_taken_as_they_are(tmp_path: Path, registry: RegistryServer) -> None:
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    digest = write_image(
        tmp_path / "layout",
        manifest_type=docker,
        config_type="application/vnd.docker.container.image.v1+json",
        layer_type="application/vnd.docker.image.rootfs.diff.tar",
    )
    push(tmp_path / "layout", f"{registry.host}/acme/app:1")
    entry = pull(f"{registry.host}/acme/app:1", tmp_path / "back")
    assert (f"sha256:{entry.digest}", entry.media_type) == (digest, docker)
    assert blobs(tmp_path / "back") == blobs(tmp_path / "layout")


def test_images_in_an_index_in_an_index(tmp_path: Path, registry: RegistryServer) -> None:
    index = "application/vnd.oci.image.index.v1+json"
    layout = tmp_path / "layout"
    inner = put_json(layout, {"schemaVersion": 2, "manifests": [put_image(layout, [tar({"a": b"a"})])]}, index)
    finish(layout, put_json(layout, {"schemaVersion": 2, "manifests": [inner]}, index))
    push(layout, f"{registry.host}/acme/app:1")
    pull(f"{registry.host}/acme/app:1", tmp_path / "back")
    assert blobs(tmp_path / "back") == blobs(layout)


@pytest.mark.hostile
def test_an_index_that_names_one_image_again_and_again_is_pulled_once(tmp_path: Path, registry: RegistryServer) -> None:
    index = "application/vnd.oci.image.index.v1+json"
    layout = tmp_path / "layout"
    inner = put_json(layout, {"schemaVersion": 2, "manifests": [put_image(layout, [tar({"a": b"a"})])] * 500}, index)
    finish(layout, put_json(layout, {"schemaVersion": 2, "manifests": [inner] * 500}, index))
    push(layout, f"{registry.host}/acme/app:1")
    before = len(registry.requests())
    pull(f"{registry.host}/acme/app:1", tmp_path / "back")
    assert blobs(tmp_path / "back") == blobs(layout)
    asked = [request.path for request in registry.requests()[before:] if "/manifests/" in request.path]
    assert len(asked) == 3
