"""Which layers a host pulls again that has one image and wants another."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import hand_layouts
from tests.support.bundles import make_writable
from tests.support.images import two_models
from thoth_models.bundle.digest import Digest
from thoth_models_builder.cli.terminal import TerminalWatcher
from thoth_models_builder.errors import LayoutError
from thoth_models_builder.oci.descriptors import OCI_LAYER, Descriptor
from thoth_models_builder.oci.layer_diff import compare_images, compare_layouts, read_layers
from thoth_models_builder.pipeline import image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models_builder.oci.layer_diff import LayerDiff

PLATFORM = "linux/amd64"


def layer(name: str | None, content: str, size: int) -> Descriptor:
    return Descriptor(
        media_type=OCI_LAYER,
        digest=Digest(hashlib.sha256(content.encode()).hexdigest()),
        size=size,
        annotations={} if name is None else {"thoth-models.layer": name},
    )


def compared(before: list[Descriptor], after: list[Descriptor]) -> LayerDiff:
    (found,) = compare_images({PLATFORM: before}, {PLATFORM: after})
    return found


def states(diff: LayerDiff) -> list[tuple[str, str]]:
    return [(layer.name, layer.state) for layer in diff.layers]


BASE, MINI, OTHER, TOP = (
    layer(None, "base", 7),
    layer("mini", "m", 100),
    layer("other", "o", 1000),
    layer("top", "t", 3),
)


def test_the_same_image_is_not_pulled_again() -> None:
    found = compared([BASE, MINI, TOP], [BASE, MINI, TOP])
    assert (found.bytes, found.pulled, found.gone) == (110, 0, ())
    assert [state for _, state in states(found)] == ["kept"] * 3


def test_one_changed_model_is_its_layer_and_the_top() -> None:
    found = compared([BASE, MINI, OTHER, TOP], [BASE, layer("mini", "m2", 90), OTHER, layer("top", "t2", 4)])
    assert states(found)[1:] == [("mini", "changed"), ("other", "kept"), ("top", "changed")]
    assert found.pulled == 90 + 4
    assert found.gone == ()


def test_another_base_keeps_every_layer_above_it() -> None:
    found = compared([BASE, MINI, TOP], [layer(None, "new base", 8), MINI, TOP])
    assert [state for _, state in states(found)] == ["new", "kept", "kept"]
    assert found.pulled == 8
    assert found.gone == (f"base {BASE.digest.short}",)


def test_a_layer_that_appears_and_one_that_goes() -> None:
    found = compared([MINI, TOP], [OTHER, TOP])
    assert states(found) == [("other", "new"), ("top", "kept")]
    assert found.gone == ("mini",)


def test_the_same_content_twice_is_pulled_once() -> None:
    found = compared([], [layer("a", "same", 50), layer("b", "same", 50)])
    assert (found.bytes, found.pulled) == (100, 50)


def test_the_same_content_under_another_name_is_not_gone() -> None:
    found = compared([layer("old name", "x", 5)], [layer("new name", "x", 5)])
    assert states(found) == [("new name", "kept")]
    assert (found.gone, found.pulled) == ((), 0)


def test_platforms_with_one_answer_share_it_and_others_do_not() -> None:
    before = {"linux/amd64": [MINI], "linux/arm64": [MINI]}
    after = {"linux/amd64": [MINI, TOP], "linux/arm64": [MINI, TOP], "linux/riscv64": [MINI, TOP]}
    same, more = compare_images(before, after)
    assert same.platforms == ("linux/amd64", "linux/arm64")
    assert same.pulled == 3
    # Who has no image of that platform has nothing.
    assert more.platforms == ("linux/riscv64",)
    assert more.pulled == 103


# --- layouts ---


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    make_writable(tmp_path)


def packed(place: Path, name: str, **options: Any) -> Path:
    two_models(place / f"{name}-bundle", **options)
    image.image(image.ImageOptions(bundle=place / f"{name}-bundle", to=[f"oci:{place / name}"]), TerminalWatcher())
    return place / name


def test_what_was_packed_is_compared(place: Path) -> None:
    before = packed(place, "before")
    after = packed(place, "after", more={"new.txt": b"n" * 5000})
    (found,) = compare_layouts(before, after)
    assert found.platforms == ("linux/amd64", "linux/arm64")
    by_name = {layer.name: layer for layer in found.layers}
    assert by_name["mini/onnx-fp32"].state == by_name["mini/torch-fp32"].state == "kept"
    assert {name for name, layer in by_name.items() if layer.state == "changed"} == {"other/torch-fp32", "manifest"}
    # The blobs themselves say the same.
    sent = {path.name: path.stat().st_size for path in (after / "blobs/sha256").iterdir()}
    had = {path.name for path in (before / "blobs/sha256").iterdir()}
    layers = {layer.digest for layer in found.layers}
    assert found.pulled == sum(size for digest, size in sent.items() if digest in layers - had)


def test_images_by_hand_have_their_platforms_and_no_configuration_among_their_layers(tmp_path: Path) -> None:
    hand_layouts.write_two_platforms(tmp_path / "two")
    found = read_layers(tmp_path / "two")
    assert list(found) == ["linux/amd64", "linux/arm64"]
    assert [len(layers) for layers in found.values()] == [2, 2]
    assert found["linux/amd64"][0] == found["linux/arm64"][0]


def test_what_is_beside_an_image_is_no_image(tmp_path: Path) -> None:
    entry = hand_layouts.put_image(tmp_path, [hand_layouts.tar({"a": b"a"})])
    beside = hand_layouts.put_image(tmp_path, [hand_layouts.tar({"statement": b"{}"})])
    platforms = [{"os": "linux", "architecture": "amd64"}, {"os": "unknown", "architecture": "unknown"}]
    entries = [{**part, "platform": platform} for part, platform in zip([entry, beside], platforms, strict=True)]
    hand_layouts.finish(tmp_path, *entries)
    assert list(read_layers(tmp_path)) == ["linux/amd64"]


def test_two_images_for_one_platform_are_one_too_many(tmp_path: Path) -> None:
    entries = [hand_layouts.put_image(tmp_path, [hand_layouts.tar({name: b""})]) for name in ("a", "b")]
    hand_layouts.finish(tmp_path, *entries)
    with pytest.raises(LayoutError, match="expected one image for linux/amd64, found two"):
        read_layers(tmp_path)


@pytest.mark.hostile
def test_a_changed_manifest_is_not_believed(tmp_path: Path) -> None:
    digest = hand_layouts.write_image(tmp_path)
    hand_layouts.flip(tmp_path / "blobs/sha256" / digest.removeprefix("sha256:"))
    with pytest.raises(LayoutError, match="expected sha256"):
        read_layers(tmp_path)


def test_a_directory_that_is_no_layout_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"oci-layout: expected a file of an OCI image layout"):
        compare_layouts(tmp_path, tmp_path)


@pytest.mark.hostile
def test_a_manifest_that_is_announced_as_an_index_is_refused(tmp_path: Path) -> None:
    entry = hand_layouts.put_image(tmp_path, [hand_layouts.tar({"a": b"a"})])
    hand_layouts.finish(tmp_path, {**entry, "mediaType": hand_layouts.INDEX})
    with pytest.raises(LayoutError, match="mediaType"):
        read_layers(tmp_path)


@pytest.mark.hostile
def test_an_index_that_names_itself_over_and_over_ends(tmp_path: Path) -> None:
    # Two levels that share an entry, which is as close to a circle as digests allow.
    image = hand_layouts.put_image(tmp_path, [hand_layouts.tar({"a": b"a"})])
    index = {"schemaVersion": 2, "mediaType": hand_layouts.INDEX, "manifests": [image, image]}
    inner = hand_layouts.put_json(tmp_path, index, hand_layouts.INDEX)
    hand_layouts.finish(tmp_path, inner, inner, image)
    assert list(read_layers(tmp_path)) == ["linux/amd64"]
    assert json.loads((tmp_path / "index.json").read_text())["manifests"][0] == inner
