"""Reading bases: each platform's image with its layers as they are, and what is no base."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.images import CONFIG, GZIP_LAYER, MANIFEST, LayoutMaker, two_platforms
from thoth_models_builder.errors import ImageNotFoundError, LayoutError
from thoth_models_builder.oci import base_image, layout_files
from thoth_models_builder.oci.base_image import read_bases

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models_builder.oci.descriptors import Descriptor


def test_every_platform_and_nothing_that_was_attested(tmp_path: Path) -> None:
    layout = two_platforms(tmp_path / "base")
    images = read_bases(layout, ())
    assert [dict(image.platform) for image in images] == [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm64", "variant": "v8"},
    ]
    for image in images:
        (layer,) = image.layers
        assert layer.media_type == GZIP_LAYER
        assert (layout / "blobs" / "sha256" / layer.digest.hex).stat().st_size == layer.size
        assert image.digest is not None
        assert image.config["rootfs"]["diff_ids"] != [f"sha256:{layer.digest}"]


def test_only_the_platforms_that_are_asked_for(tmp_path: Path) -> None:
    layout = two_platforms(tmp_path / "base")
    # Official images have the variant, and people leave it out.
    for name in ("linux/arm64/v8", "linux/arm64"):
        (image,) = read_bases(layout, [name])
        assert image.platform["architecture"] == "arm64"
    with pytest.raises(ImageNotFoundError, match=r"expected an image for linux/s390x, found linux/amd64, linux/arm64$"):
        read_bases(layout, ["linux/s390x", "linux/amd64"])


def test_a_single_image_names_its_platform_in_its_configuration(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "base")
    entry = maker.image("riscv64")
    del entry["platform"]
    (image,) = read_bases(maker.finish(entry), ())
    assert dict(image.platform) == {"os": "linux", "architecture": "riscv64"}


def test_media_types_of_docker_become_those_that_mean_the_same(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "base")
    docker = "application/vnd.docker"
    entry = maker.image(
        "amd64",
        layer_type=f"{docker}.image.rootfs.diff.tar.gzip",
        manifest_type=f"{docker}.distribution.manifest.v2+json",
        config_type=f"{docker}.container.image.v1+json",
    )
    (image,) = read_bases(maker.finish(entry), ())
    assert [layer.media_type for layer in image.layers] == [GZIP_LAYER]


def test_layers_that_are_elsewhere(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "base")
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    with pytest.raises(LayoutError, match=f"expected a layer that is in the image, found '{foreign}'"):
        read_bases(maker.finish(maker.image("amd64", layer_type=foreign)), ())


def test_several_images_under_names_of_their_own(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "base")
    with pytest.raises(LayoutError, match="expected one image or index, found 2"):
        read_bases(maker.finish(maker.image("amd64"), maker.image("arm64")), ())


def test_an_index_of_nothing(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "base")
    with pytest.raises(ImageNotFoundError, match="found an index without any"):
        read_bases(maker.finish(maker.index()), ())


@pytest.mark.hostile
def test_an_index_without_a_bottom(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "base")
    entry = maker.index(maker.image("amd64"))
    for _ in range(8):
        entry = maker.index(entry)
    with pytest.raises(LayoutError, match="expected indexes in at most 4 levels"):
        read_bases(maker.finish(entry), ())


@pytest.mark.hostile
def test_a_base_with_fewer_digests_of_content_than_layers_is_refused(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "base")
    entry = maker.image("amd64", config={"rootfs": {"type": "layers", "diff_ids": []}})
    with pytest.raises(LayoutError, match=r"rootfs\.diff_ids: expected 1, as there are layers, found 0"):
        read_bases(maker.finish(entry), ())


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"config": ["User"]}, "config: expected an object, found list"),
        ({"config": {"Labels": ["a"]}}, r"config\.Labels: expected an object of texts, found \['a'\]"),
        ({"config": {"Labels": {"a": 1}}}, r"config\.Labels: expected an object of texts"),
        ({"config": {"Env": "PATH=/bin"}}, r"config\.Env: expected a list of str, found 'PATH=/bin'"),
        ({"config": {"Env": [5]}}, r"config\.Env: expected a list of str, found \[5\]"),
        ({"history": 5}, "history: expected a list of dict, found 5"),
    ],
)
def test_a_base_with_a_configuration_of_other_types_is_refused(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    maker = LayoutMaker(tmp_path / "base")
    with pytest.raises(LayoutError, match=rf"blobs/sha256/[0-9a-f]{{64}}: {message}"):
        read_bases(maker.finish(maker.image("amd64", config=config)), ())


def test_no_platform_at_all(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "base")
    entry = maker.image("amd64", config={"os": "", "architecture": ""})
    del entry["platform"]
    with pytest.raises(LayoutError, match="expected an operating system and an architecture"):
        read_bases(maker.finish(entry), ())


def test_something_that_is_no_image(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "base")
    entry = maker.document({"a": 1}, "application/json")
    with pytest.raises(LayoutError, match="expected a manifest or an index, found 'application/json'"):
        read_bases(maker.finish(entry), ())


def test_a_manifest_without_a_configuration(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "base")
    entry = maker.document({"schemaVersion": 2, "mediaType": MANIFEST, "layers": []}, MANIFEST)
    with pytest.raises(LayoutError, match="config: expected a descriptor, found none"):
        read_bases(maker.finish(entry), ())


@pytest.mark.hostile
def test_documents_of_a_base_that_are_no_json_are_refused(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "base")
    with pytest.raises(LayoutError):
        read_bases(maker.finish(maker.add(b"no JSON", MANIFEST)), ())
    maker = LayoutMaker(tmp_path / "other")
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": maker.add(b"[]", CONFIG), "layers": []}
    with pytest.raises(LayoutError, match="expected a JSON object, found a list"):
        read_bases(maker.finish(maker.document(document, MANIFEST)), ())


@pytest.mark.hostile
def test_any_document_with_another_digest_than_its_name(tmp_path: Path) -> None:
    names = {path.name for path in (two_platforms(tmp_path / "count") / "blobs" / "sha256").iterdir()}
    documents = 0
    for number, name in enumerate(sorted(names)):
        layout = two_platforms(tmp_path / str(number))
        path = layout / "blobs" / "sha256" / name
        data = path.read_bytes()
        if not data.startswith(b"{") or json.loads(data) == {}:
            continue  # a layer, or what only the attestation names
        path.write_bytes(data.replace(b"linux", b"minix").replace(b'"schemaVersion": 2', b'"schemaVersion": 3'))
        if path.read_bytes() == data or "attestation" in str(json.loads(data).get("annotations")):
            continue
        documents += 1
        if json.loads(data).get("layers") == []:
            assert read_bases(layout, ())
            continue
        with pytest.raises(LayoutError, match="expected sha256"):
            read_bases(layout, ())
    assert documents == 6  # an index, two manifests, two configurations; the attestation is not read


@pytest.mark.hostile
def test_an_index_that_names_one_image_again_and_again_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []

    def counted(layout: Path, entry: Descriptor) -> bytes:
        read.append(entry)
        return layout_files.read_document(layout, entry)

    monkeypatch.setattr(base_image, "read_document", counted)
    maker = LayoutMaker(tmp_path / "base")
    inner = maker.index(*[maker.image("amd64")] * 900)
    (image,) = read_bases(maker.finish(maker.index(*[inner] * 900)), ())
    assert image.platform["architecture"] == "amd64"
    assert len(read) == 4  # two indexes, a manifest and its configuration


@pytest.mark.hostile
def test_an_index_with_very_many_entries_is_refused(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "base")
    entry = maker.image("amd64")
    many = [{**entry, "platform": {"os": "linux", "architecture": f"a{number}"}} for number in range(1001)]
    with pytest.raises(LayoutError, match="manifests: expected at most 1000 entries, found 1001"):
        read_bases(maker.finish(maker.index(*many)), ())
    halves = [maker.index(*many[start : start + 600]) for start in (0, 600)]
    with pytest.raises(LayoutError, match="expected at most 1000 manifests and indexes, found more"):
        read_bases(LayoutMaker.finish(maker, maker.index(*halves)), ())
