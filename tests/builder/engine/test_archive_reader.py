"""What an engine saves becomes a layout, each layer compared, or leaves none."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from tests.support.docker_archives import (
    archive,
    classic,
    configuration,
    newer,
)
from tests.support.hand_layouts import blobs, flip, sha256, tar
from thoth_models_builder.engine.archive_reader import write_layout
from thoth_models_builder.errors import (
    EngineError,
    OutputError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models.bundle.digest import Digest


LAYERS = (tar({"models/a": b"a" * 70_000}), tar({"models/b": b"b"}))


def pieces(data: bytes, size: int = 65_536) -> Iterator[bytes]:
    for offset in range(0, len(data), size):
        yield data[offset : offset + size]


def save(data: bytes, layout: Path) -> Digest:
    return write_layout(pieces(data), layout, "made:1")


def layers_of(layout: Path) -> list[dict[str, object]]:
    index = json.loads((layout / "index.json").read_bytes())
    manifest = json.loads(blobs(layout)[index["manifests"][0]["digest"].removeprefix("sha256:")])
    return list(manifest["layers"])


def test_old_and_newer_archives_give_the_same_layout(tmp_path: Path) -> None:
    config = configuration(LAYERS)
    data = classic("made:1", LAYERS, config)
    old = save(data, tmp_path / "old")
    data = newer("made:1", LAYERS)
    assert save(data, tmp_path / "new") == old
    assert blobs(tmp_path / "new") == blobs(tmp_path / "old")
    assert set(blobs(tmp_path / "old")) == {*map(sha256, LAYERS), sha256(config), str(old)}


def test_layers_that_an_engine_keeps_compressed_are_compared_by_their_content(tmp_path: Path) -> None:
    stored = [gzip.compress(layer) for layer in LAYERS]
    data = newer("made:1", LAYERS, stored)
    save(data, tmp_path / "layout")
    assert [layer["mediaType"] for layer in layers_of(tmp_path / "layout")] == [
        "application/vnd.oci.image.layer.v1.tar+gzip"
    ] * 2
    assert [layer["digest"] for layer in layers_of(tmp_path / "layout")] == [
        f"sha256:{sha256(data)}" for data in stored
    ]
    data = newer("made:1", LAYERS, [gzip.compress(LAYERS[0]), gzip.compress(b"another")])
    with pytest.raises(EngineError, match=rf"expected 'sha256:{sha256(LAYERS[1])}', found sha256:{sha256(b'another')}"):
        save(data, tmp_path / "other")


def test_a_layer_that_comes_twice_is_a_link_in_the_archive(tmp_path: Path) -> None:
    layers = [LAYERS[0], LAYERS[1], LAYERS[0]]
    data = classic("made:1", layers)
    save(data, tmp_path / "layout")
    assert [layer["digest"] for layer in layers_of(tmp_path / "layout")] == [
        f"sha256:{sha256(data)}" for data in layers
    ]


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (classic("made:1", LAYERS)[:40_000], "expected a whole archive from the engine, found"),
        (b"no archive at all", "expected a whole archive from the engine, found"),
        (b"", "expected a whole archive from the engine, found"),
        (archive({"a": b"a"}), r"expected the file 'manifest\.json', found no such file"),
        (archive({"manifest.json": b"[]"}), "expected a list of one image, found something else"),
        (archive({"manifest.json": b"{"}), "expected JSON, found something else"),
        (archive({"manifest.json": b'[{"Config": "x.json"}]'}), r"expected the configuration 'x\.json', found no such"),
        (
            archive({"manifest.json": b'[{"Config": "c", "Layers": []}]', "c": configuration(LAYERS)}),
            "expected 2 layers, as its configuration says, found 0",
        ),
        (
            archive({"manifest.json": b'[{"Config": "c", "Layers": ["../x"]}]', "c": configuration(LAYERS[:1])}),
            r"expected the layer '\.\./x', found no such file",
        ),
        (
            newer("made:1", LAYERS[:1], [b"\x28\xb5\x2f\xfd and more"]),
            r"layer .*: expected it plain or in gzip, which can be compared, found zstd",
        ),
        (
            classic("made:1", [LAYERS[0], b"another"], configuration(LAYERS)),
            rf"layer .*: expected 'sha256:{sha256(LAYERS[1])}', found sha256:{sha256(b'another')}",
        ),
    ],
)
def test_an_archive_that_is_no_image_leaves_no_layout(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=message):
        save(data, tmp_path / "layout")
    assert not (tmp_path / "layout/index.json").exists()
    assert not (tmp_path / "layout/.incoming").exists()


@pytest.mark.hostile
def test_no_file_of_an_archive_gets_its_own_name(tmp_path: Path) -> None:
    config = configuration(LAYERS[:1])
    listed = json.dumps([{"Config": "c", "Layers": ["/../../escaped"]}]).encode()
    data = archive({"manifest.json": listed, "c": config, "/../../escaped": LAYERS[0]})
    digest = save(data, tmp_path / "deep/er/layout")
    assert set(blobs(tmp_path / "deep/er/layout")) == {sha256(LAYERS[0]), sha256(config), str(digest)}
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.hostile
def test_a_layout_goes_into_no_directory_of_somebody_else(tmp_path: Path) -> None:
    data = classic("made:1", LAYERS)
    save(data, tmp_path / "layout")
    with pytest.raises(OutputError, match="expected an empty directory for an image layout"):
        save(data, tmp_path / "layout")


@pytest.mark.hostile
def test_flipping_a_byte_of_a_layer_is_seen(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    # In the middle lies the first layer, by far the longest file.
    archive.write_bytes(classic("made:1", LAYERS))
    flip(archive)
    with pytest.raises(EngineError, match=rf"expected 'sha256:{sha256(LAYERS[0])}', found sha256:"):
        save(archive.read_bytes(), tmp_path / "layout")
