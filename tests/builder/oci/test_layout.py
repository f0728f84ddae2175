"""Writing image layouts: each blob once and under its digest, one writer, and nothing of others touched."""

from __future__ import annotations

import fcntl
import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import flip_bit
from tests.support.images import nothing, two_models
from thoth_models.bundle.digest import Digest
from thoth_models.errors import VerificationError
from thoth_models_builder.errors import LayoutError, OutputError
from thoth_models_builder.oci.descriptors import OCI_CONFIG, OCI_LAYER, Descriptor
from thoth_models_builder.oci.image_config import BUNDLE_DIGEST, document_descriptor, encode, make_manifest
from thoth_models_builder.oci.layers import Layer, bundle_layers, layer_descriptor
from thoth_models_builder.oci.layout import (
    claim,
    copy_blob,
    find_layers,
    prune,
    share_blob,
    workspace,
    write_image,
    write_layer,
)
from thoth_models_builder.oci.layout_files import blob_path, prepare_layout, write_blob, write_index

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def layers(place: Path) -> tuple[Layer, ...]:
    return bundle_layers(two_models(place / "bundle"), place / "bundle", root="/models", mtime=0)


def filled(layout: Path, layers: tuple[Layer, ...]) -> list[Digest]:
    """Write layers, with an image that says which they are."""
    digests = [write_layer(layout, layer, nothing) for layer in layers]
    descriptors = [layer_descriptor(layer, digest) for layer, digest in zip(layers, digests, strict=True)]
    manifest = make_manifest(b"{}", descriptors, {})
    entry = document_descriptor(manifest, "application/vnd.oci.image.manifest.v1+json", None, {BUNDLE_DIGEST: "x"})
    write_image(layout, [b"{}", manifest], entry)
    return digests


def blobs(layout: Path) -> set[str]:
    return {path.name for path in (layout / "blobs" / "sha256").iterdir()}


def test_a_layer_is_written_under_its_digest(place: Path, layers: tuple[Layer, ...]) -> None:
    told: list[int] = []
    with claim(place / "layout"):
        digest = write_layer(place / "layout", layers[0], told.append)
    path = blob_path(place / "layout", digest)
    assert Digest.of(path.read_bytes()) == digest
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert sum(told) == layers[0].size
    assert {entry.name for entry in (place / "layout").iterdir()} == {"oci-layout", "blobs"}


@pytest.mark.hostile
def test_nothing_is_kept_of_a_file_that_changed(place: Path, layers: tuple[Layer, ...]) -> None:
    flip_bit(place / "bundle", "other/source/model.safetensors")
    with claim(place / "layout"), pytest.raises(VerificationError):
        write_layer(place / "layout", layers[2], nothing)
    assert blobs(place / "layout") == set()
    assert {entry.name for entry in (place / "layout").iterdir()} == {"oci-layout", "blobs"}


def test_layers_are_found_again(place: Path, layers: tuple[Layer, ...]) -> None:
    with claim(place / "layout"):
        assert find_layers(place / "layout", layers) == {}
        digests = filled(place / "layout", layers)
        assert find_layers(place / "layout", layers) == {
            layer.input_digest: digest for layer, digest in zip(layers, digests, strict=True)
        }
        assert find_layers(place / "layout", [replace(layers[0], mtime=1)]) == {}


@pytest.mark.hostile
def test_a_damaged_layer_is_not_found(place: Path, layers: tuple[Layer, ...]) -> None:
    with claim(place / "layout"):
        digests = filled(place / "layout", layers)
        path = blob_path(place / "layout", digests[0])
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[700] ^= 1
        path.write_bytes(data)
        assert find_layers(place / "layout", layers).keys() == {layer.input_digest for layer in layers[1:]}
        assert write_layer(place / "layout", layers[0], nothing) == digests[0]
        assert len(find_layers(place / "layout", layers)) == len(layers)


@pytest.mark.hostile
def test_what_an_image_claims_of_a_layer_is_not_believed(place: Path, layers: tuple[Layer, ...]) -> None:
    """An image that names the layer of one model where another one's belongs."""
    with claim(place / "layout"):
        digests = [write_layer(place / "layout", layer, nothing) for layer in layers]
        lie = [layer_descriptor(layers[0], digests[1])]
        manifest = make_manifest(b"{}", lie, {})
        entry = document_descriptor(manifest, "application/vnd.oci.image.manifest.v1+json")
        write_image(place / "layout", [b"{}", manifest], entry)
        assert find_layers(place / "layout", layers) == {}


@pytest.mark.hostile
def test_a_layer_under_the_name_of_another_digest_is_not_found(place: Path, layers: tuple[Layer, ...]) -> None:
    with claim(place / "layout"):
        digest = write_layer(place / "layout", layers[0], nothing)
        wrong = Digest.of(b"another")
        blob_path(place / "layout", digest).rename(blob_path(place / "layout", wrong))
        manifest = make_manifest(b"{}", [layer_descriptor(layers[0], wrong)], {})
        entry = document_descriptor(manifest, "application/vnd.oci.image.manifest.v1+json")
        write_image(place / "layout", [b"{}", manifest], entry)
        assert find_layers(place / "layout", layers) == {}


@pytest.mark.hostile
@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b'{"manifests":[{}]}'])
def test_a_damaged_index_of_a_layout_is_refused(damage: bytes, place: Path) -> None:
    prepare_layout(place / "layout")
    (place / "layout" / "index.json").write_bytes(damage)
    with (
        pytest.raises(OutputError, match="expected an empty directory or an image layout written by thoth-bundle"),
        claim(place / "layout"),
    ):
        pass
    assert (place / "layout" / "index.json").read_bytes() == damage


def test_a_damaged_manifest_only_costs_time(place: Path, layers: tuple[Layer, ...]) -> None:
    with claim(place / "layout"):
        digests = filled(place / "layout", layers)
        for name in blobs(place / "layout") - {digest.hex for digest in digests}:
            (place / "layout" / "blobs" / "sha256" / name).write_bytes(b"damage")
        assert find_layers(place / "layout", layers) == {}


@pytest.mark.hostile
def test_images_of_others_are_not_replaced(place: Path) -> None:
    prepare_layout(place / "layout")
    entry = Descriptor(media_type="application/vnd.oci.image.manifest.v1+json", digest=Digest.of(b""), size=0)
    write_index(place / "layout", [entry])
    with pytest.raises(OutputError, match=f"no annotation {BUNDLE_DIGEST}"), claim(place / "layout"):
        pass


@pytest.mark.hostile
def test_directories_of_others_are_not_written(place: Path) -> None:
    (place / "photos").mkdir()
    (place / "photos" / "me.jpg").write_bytes(b"")
    with (
        pytest.raises(OutputError, match="expected an OCI image layout or an empty directory"),
        claim(place / "photos"),
    ):
        pass
    assert [entry.name for entry in (place / "photos").iterdir()] == ["me.jpg"]
    with pytest.raises(OutputError), claim(place / "photos" / "me.jpg"):
        pass


def test_one_writer_at_a_time(place: Path) -> None:
    with claim(place / "layout"), pytest.raises(OutputError, match="its only writer"), claim(place / "layout"):
        pass
    with claim(place / "layout"):
        pass


def test_the_claim_ends_with_its_process(place: Path) -> None:
    """A lock of the kernel's, not a file that somebody has to remove."""
    with claim(place / "layout"):
        descriptor = os.open(place / "layout", os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_what_a_killed_run_left_is_removed(place: Path) -> None:
    prepare_layout(place / "layout")
    (place / "layout" / ".writing-abc").write_bytes(b"half a layer")
    (place / "layout" / ".writing-base").mkdir()
    (place / "layout" / ".writing-base" / "blob").write_bytes(b"")
    with claim(place / "layout"):
        assert {entry.name for entry in (place / "layout").iterdir()} == {"oci-layout", "blobs"}
        with workspace(place / "layout") as directory:
            (directory / "file").write_bytes(b"")
        assert not directory.exists()


def test_what_no_image_needs_is_removed(place: Path, layers: tuple[Layer, ...]) -> None:
    with claim(place / "layout"):
        digest = write_layer(place / "layout", layers[0], nothing)
        other = write_layer(place / "layout", layers[1], nothing)
        (place / "layout" / "blobs" / "sha256" / f".{digest}.17").write_bytes(b"left by a killed process")
        (place / "layout" / "blobs" / "sha256" / "README").write_bytes(b"somebody's")
        removed = prune(place / "layout", {digest})
    assert removed == layers[1].size + len(b"left by a killed process")
    assert blobs(place / "layout") == {digest.hex, "README"}
    assert other.hex not in blobs(place / "layout")


def test_nothing_is_written_again(place: Path, layers: tuple[Layer, ...]) -> None:
    with claim(place / "layout"):
        filled(place / "layout", layers)
        before = {path: path.stat().st_mtime_ns for path in (place / "layout").rglob("*") if path.is_file()}
        os.utime(place / "layout" / "index.json", ns=(1, 1))
        descriptors = [layer_descriptor(layer, digest) for layer, digest in find_again(place / "layout", layers)]
        manifest = make_manifest(b"{}", descriptors, {})
        entry = document_descriptor(manifest, "application/vnd.oci.image.manifest.v1+json", None, {BUNDLE_DIGEST: "x"})
        write_image(place / "layout", [b"{}", manifest], entry)
    after = {path: path.stat().st_mtime_ns for path in (place / "layout").rglob("*") if path.is_file()}
    assert after == {**before, place / "layout" / "index.json": 1}


def find_again(layout: Path, layers: tuple[Layer, ...]) -> list[tuple[Layer, Digest]]:
    found = find_layers(layout, layers)
    return [(layer, found[layer.input_digest]) for layer in layers]


# --- blobs of other layouts ---


@pytest.fixture
def source(place: Path) -> tuple[Path, Descriptor]:
    """A layout of somebody else's with one blob."""
    prepare_layout(place / "source")
    digest = write_blob(place / "source", b"a layer of the base")
    return place / "source", Descriptor(media_type=OCI_LAYER, digest=digest, size=len(b"a layer of the base"))


def test_a_blob_is_copied_and_compared(place: Path, source: tuple[Path, Descriptor]) -> None:
    layout, descriptor = source
    before = blob_path(layout, descriptor.digest).stat()
    with claim(place / "layout"):
        copy_blob(layout, place / "layout", descriptor, nothing)
    after = blob_path(layout, descriptor.digest).stat()
    assert blob_path(place / "layout", descriptor.digest).read_bytes() == b"a layer of the base"
    assert (after.st_nlink, after.st_mode) == (before.st_nlink, before.st_mode)


@pytest.mark.hostile
@pytest.mark.parametrize("damage", [b"a layer of the case", b"", b"a layer of the base and more"])
def test_a_blob_that_is_another_is_not_copied(damage: bytes, place: Path, source: tuple[Path, Descriptor]) -> None:
    layout, descriptor = source
    blob_path(layout, descriptor.digest).write_bytes(damage)
    with claim(place / "layout"), pytest.raises(LayoutError, match=f"expected sha256 {descriptor.digest}, found"):
        copy_blob(layout, place / "layout", descriptor, nothing)
    assert blobs(place / "layout") == set()


def test_a_blob_that_is_missing(place: Path, source: tuple[Path, Descriptor]) -> None:
    layout, descriptor = source
    blob_path(layout, descriptor.digest).unlink()
    with claim(place / "layout"), pytest.raises(LayoutError, match="expected a blob of 19 bytes, found No such file"):
        copy_blob(layout, place / "layout", descriptor, nothing)


def test_layouts_share_a_blob(place: Path, layers: tuple[Layer, ...]) -> None:
    with claim(place / "one"), claim(place / "two"):
        digest = write_layer(place / "one", layers[0], nothing)
        share_blob(place / "one", place / "two", digest)
        share_blob(place / "one", place / "two", digest)
    assert blob_path(place / "one", digest).samefile(blob_path(place / "two", digest))
    assert blobs(place / "two") == {digest.hex}


def test_a_disk_that_is_full(place: Path, layers: tuple[Layer, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with claim(place / "layout"):
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(OutputError, match="No space left on device"):
                write_layer(place / "layout", layers[0], nothing)
        assert blobs(place / "layout") == set()
        assert not list((place / "layout").glob(".writing-*"))


def test_documents_have_one_spelling() -> None:
    assert encode({"b": ["ä"], "a": 1}) == '{"a":1,"b":["ä"]}'.encode()
    assert document_descriptor(b"{}", OCI_CONFIG).as_json() == {
        "mediaType": OCI_CONFIG,
        "digest": f"sha256:{Digest.of(b'{}')}",
        "size": 2,
    }
