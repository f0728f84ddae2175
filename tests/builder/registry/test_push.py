"""A push sends only what the registry lacks, compares each byte, and puts the tag last."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.hand_layouts import (
    CONFIG,
    LAYER,
    MANIFEST,
    blobs,
    finish,
    flip,
    put_blob,
    put_json,
    sha256,
    tar,
    write_image,
)
from tests.support.registry_server import RegistryServer
from thoth_models_builder.errors import ImageReferenceError, LayoutError
from thoth_models_builder.registry.client import pull, push

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path / "registry") as server:
        yield server


def counts(server: RegistryServer, after: int = 0) -> Counter[str]:
    """Count what was asked of a registry, by kind."""

    def kind(method: str, path: str) -> str:
        what = "mounts" if "mount=" in path else "uploads" if "/uploads/" in path else path.split("/")[-2]
        return f"{method} {what}"

    return Counter(kind(request.method, request.path) for request in server.requests()[after:])


def test_a_push_sends_every_blob_then_the_manifest_and_reports_it(tmp_path: Path, registry: RegistryServer) -> None:
    digest = write_image(tmp_path / "layout")
    report = push(tmp_path / "layout", f"{registry.host}/acme/app:1.0")
    assert f"sha256:{report.digest}" == digest
    assert report.reference == f"{registry.host}/acme/app:1.0"
    assert [blob.outcome for blob in report.blobs] == ["sent"] * 3
    assert [blob.media_type for blob in report.blobs] == [CONFIG, LAYER, LAYER]
    assert report.bytes_sent == sum(blob.size for blob in report.blobs)
    for name, data in blobs(tmp_path / "layout").items():
        assert registry.blob_file(name).read_bytes() == data
    assert counts(registry)["PUT uploads"] == 3


def test_a_second_push_sends_no_blob(tmp_path: Path, registry: RegistryServer) -> None:
    write_image(tmp_path / "layout")
    push(tmp_path / "layout", f"{registry.host}/acme/app:1.0")
    before = len(registry.requests())
    report = push(tmp_path / "layout", f"{registry.host}/acme/app:1.1")
    assert [blob.outcome for blob in report.blobs] == ["present"] * 3
    assert report.bytes_sent == 0
    asked = counts(registry, before)
    assert asked["HEAD blobs"] == 3
    assert not any("uploads" in kind or "mounts" in kind for kind in asked)


def test_only_the_layer_that_changed_is_sent(tmp_path: Path, registry: RegistryServer) -> None:
    kept, old, new = tar({"kept": b"k"}), tar({"model": b"old"}), tar({"model": b"new"})
    write_image(tmp_path / "first", kept, old)
    write_image(tmp_path / "second", kept, new)
    push(tmp_path / "first", f"{registry.host}/acme/app:1")
    report = push(tmp_path / "second", f"{registry.host}/acme/app:2")
    outcomes = {str(blob.digest): blob.outcome for blob in report.blobs}
    assert outcomes[sha256(kept)] == "present"
    assert outcomes[sha256(new)] == "sent"
    assert Counter(outcomes.values()) == {"sent": 2, "present": 1}


def test_blobs_of_another_repository_are_mounted(tmp_path: Path, registry: RegistryServer) -> None:
    base, own = tar({"base": b"b" * 5000}), tar({"own": b"o"})
    write_image(tmp_path / "base", base)
    write_image(tmp_path / "app", base, own)
    push(tmp_path / "base", f"{registry.host}/library/base:1")
    before = len(registry.requests())
    report = push(
        tmp_path / "app",
        f"{registry.host}/acme/app:1",
        mount_from=["ghcr.io/library/base:1", f"{registry.host}/nobody/here:1", f"{registry.host}/library/base:1"],
    )
    found = {str(blob.digest): blob for blob in report.blobs}
    assert (found[sha256(base)].outcome, found[sha256(base)].mounted_from) == ("mounted", "library/base")
    assert found[sha256(own)].outcome == "sent"
    assert report.bytes_sent == sum(blob.size for blob in report.blobs) - len(base)
    asked = counts(registry, before)
    # The registry opens an upload where it cannot mount: that one is used, or closed, but never left behind.
    assert asked["PUT uploads"] == 2
    assert asked["POST uploads"] == 0
    assert asked["DELETE uploads"] == 3


def test_an_artifact_goes_too(tmp_path: Path, registry: RegistryServer) -> None:
    layout = tmp_path / "layout"
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.cncf.model.manifest.v1+json",
        "config": put_blob(layout, b"{}", "application/vnd.oci.empty.v1+json"),
        "layers": [put_blob(layout, b"weights", "application/vnd.cncf.model.weight.v1.raw")],
    }
    finish(layout, put_json(layout, manifest, MANIFEST))
    report = push(layout, f"{registry.host}/acme/model:1")
    assert [blob.outcome for blob in report.blobs] == ["sent", "sent"]
    pull(f"{registry.host}/acme/model@sha256:{report.digest}", tmp_path / "back")
    assert blobs(tmp_path / "back") == blobs(layout)


def test_a_blob_of_no_bytes_goes_too(tmp_path: Path, registry: RegistryServer) -> None:
    write_image(tmp_path / "layout", b"", tar({"a": b"a"}))
    push(tmp_path / "layout", f"{registry.host}/acme/app:1")
    pull(f"{registry.host}/acme/app:1", tmp_path / "back")
    assert blobs(tmp_path / "back") == blobs(tmp_path / "layout")


@pytest.mark.hostile
def test_a_changed_blob_ends_the_push_before_any_manifest(tmp_path: Path, registry: RegistryServer) -> None:
    layer = tar({"model": b"m" * 700_000})
    write_image(tmp_path / "layout", layer)
    flip(tmp_path / "layout/blobs/sha256" / sha256(layer))
    with pytest.raises(LayoutError, match=f"expected {len(layer)} bytes with sha256 {sha256(layer)}, found"):
        push(tmp_path / "layout", f"{registry.host}/acme/app:1")
    assert counts(registry)["PUT manifests"] == 0
    assert not registry.blob_file(sha256(layer)).exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda layout, blob: blob.unlink(), r"expected a blob of \d+ bytes, found No such file"),
        (lambda layout, blob: blob.write_bytes(b"short"), r"expected \d+ bytes, found 5"),
        (lambda layout, blob: (layout / "index.json").unlink(), r"index\.json: expected a file of an OCI image layout"),
        (lambda layout, blob: (layout / "oci-layout").unlink(), r"oci-layout: expected a file of an OCI image layout"),
        (lambda layout, blob: (layout / "index.json").write_text("[]"), r"expected a JSON object, found a list"),
        (lambda layout, blob: finish(layout), r"expected one manifest or index, found 0"),
        (
            lambda layout, blob: finish(
                layout, {"mediaType": MANIFEST, "digest": "sha256:../../etc/passwd", "size": 1}
            ),
            r"manifests\[0\]\.digest: expected a sha256 of 64",
        ),
        (
            lambda layout, blob: finish(layout, put_json(layout, {"mediaType": "text/plain"}, MANIFEST)),
            r"mediaType: expected application/vnd\.oci.*found 'text/plain'",
        ),
    ],
)
def test_a_layout_that_is_not_whole_is_refused_before_anything_is_asked(
    damage: Callable[[Path, Path], object], message: str, tmp_path: Path
) -> None:
    layer = tar({"model": b"m"})
    write_image(tmp_path / "layout", layer)
    damage(tmp_path / "layout", tmp_path / "layout/blobs/sha256" / sha256(layer))
    # Nothing listens there, so a request would be another error.
    with pytest.raises(LayoutError, match=message):
        push(tmp_path / "layout", "127.0.0.1:9/acme/app:1")


@pytest.mark.hostile
def test_a_changed_manifest_is_not_pushed(tmp_path: Path) -> None:
    digest = write_image(tmp_path / "layout")
    flip(tmp_path / "layout/blobs/sha256" / digest.removeprefix("sha256:"))
    with pytest.raises(LayoutError, match=f"expected sha256 {digest.removeprefix('sha256:')}, found"):
        push(tmp_path / "layout", "127.0.0.1:9/acme/app:1")


@pytest.mark.hostile
def test_a_push_to_a_digest_is_for_that_digest_only(tmp_path: Path, registry: RegistryServer) -> None:
    digest = write_image(tmp_path / "layout")
    report = push(tmp_path / "layout", f"{registry.host}/acme/app@{digest}")
    assert f"sha256:{report.digest}" == digest
    with pytest.raises(ImageReferenceError, match="expected the digest of"):
        push(tmp_path / "layout", f"{registry.host}/acme/app@sha256:{'0' * 64}")
    with pytest.raises(ImageReferenceError, match="expected a tag or a digest, found neither"):
        push(tmp_path / "layout", f"{registry.host}/acme/app")
