"""What points to content: read strictly, written in one form."""

from __future__ import annotations

from typing import Any

import pytest

from thoth_models.bundle.digest import Digest
from thoth_models_builder.oci.descriptors import (
    DOCKER_INDEX,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    check_media_type,
    children,
    normal_platform,
    parse_descriptor,
    parse_document,
    platform_name,
    unique,
)


def described(content: str = "content", **changes: Any) -> dict[str, Any]:
    digest = Digest.of(content.encode())
    return {"mediaType": OCI_LAYER, "digest": f"sha256:{digest}", "size": len(content), **changes}


@pytest.mark.parametrize(
    "more",
    [{}, {"platform": {"os": "linux", "architecture": "arm64"}}, {"annotations": {"a": "b"}}],
    ids=["plain", "platform", "annotations"],
)
def test_a_descriptor_is_written_as_it_was_read(more: dict[str, Any]) -> None:
    assert parse_descriptor(described(**more), "layers[0]").as_json() == described(**more)


def test_values_that_are_not_text_are_left_out() -> None:
    found = parse_descriptor(described(platform={"os": "windows", "os.features": ["win32k"]}), "manifests[0]")
    assert found.platform == {"os": "windows"}


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], r"^config: expected a descriptor, found a list$"),
        (described(mediaType=""), r"^config\.mediaType: expected a media type, found ''$"),
        (described(mediaType=None), r"^config\.mediaType: expected a media type, found None$"),
        (described(digest="md5:0"), r"^config\.digest: expected sha256:…, found 'md5:0'$"),
        (described(digest="sha256:xyz"), r"^config\.digest: expected"),
        (described(size=-1), r"^config\.size: expected a length in bytes, found -1$"),
        (described(size=True), r"^config\.size: expected a length in bytes, found True$"),
        (described(size=1.0), r"^config\.size: expected a length in bytes, found 1\.0$"),
        (described(platform=[]), r"^config\.platform: expected an object, found a list$"),
        (described(annotations="a"), r"^config\.annotations: expected an object, found a str$"),
    ],
)
def test_what_is_not_a_descriptor_is_named_with_its_place(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_descriptor(value, "config")


@pytest.mark.parametrize("data", [b"[]", b"1", b"{", b"[" * 100_000, b"\xff"])
def test_a_document_is_a_json_object(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_document(data)


def test_a_manifest_points_to_its_configuration_and_layers() -> None:
    document = {"config": described("c", mediaType=OCI_CONFIG), "layers": [described("a"), described("b")]}
    found = children(document, OCI_MANIFEST)
    assert [child.as_json() for child in found] == [document["config"], *document["layers"]]


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_INDEX])
def test_an_index_points_to_its_manifests_and_not_to_its_subject(media_type: str) -> None:
    document = {"manifests": [described("a")], "subject": described("elsewhere")}
    assert [child.as_json() for child in children(document, media_type)] == document["manifests"]


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("document", "media_type", "message"),
    [
        ({}, "text/plain", r"^expected the media type of a manifest or an index, found 'text/plain'$"),
        ({"layers": {}}, OCI_MANIFEST, r"^layers: expected a list, found a dict$"),
        ({"layers": [described(), 1]}, OCI_MANIFEST, r"^layers\[1\]: expected a descriptor, found a int$"),
    ],
)
def test_what_points_to_nothing_readable_is_an_error(document: Any, media_type: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        children(document, media_type)


@pytest.mark.hostile
def test_a_document_must_be_what_it_was_announced_as() -> None:
    check_media_type({}, OCI_MANIFEST)
    check_media_type({"mediaType": OCI_MANIFEST}, OCI_MANIFEST)
    with pytest.raises(ValueError, match=r"^mediaType: expected .*manifest.*, as it was announced, found .*index"):
        check_media_type({"mediaType": OCI_INDEX}, OCI_MANIFEST)


def test_platforms_have_one_name_each() -> None:
    arm = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    assert platform_name(arm) == "linux/arm64/v8"
    assert normal_platform("linux/arm64/v8") == normal_platform("linux/arm64") == "linux/arm64"
    assert normal_platform("linux/arm/v7") == "linux/arm/v7"
    assert platform_name({}) == ""


def test_each_content_is_listed_once_in_the_order_of_its_first_appearance() -> None:
    first, second = (
        Descriptor(media_type=OCI_LAYER, digest=Digest.of(name), size=1, annotations={"n": name.decode()})
        for name in (b"a", b"b")
    )
    again = Descriptor(media_type=OCI_LAYER, digest=first.digest, size=1, annotations={"n": "again"})
    assert unique([first, second, again]) == [first, second]


def test_documents_and_blobs_are_told_apart() -> None:
    kinds = {kind: parse_descriptor(described(mediaType=kind), "x").is_document for kind in (OCI_MANIFEST, OCI_LAYER)}
    assert kinds == {OCI_MANIFEST: True, OCI_LAYER: False}
