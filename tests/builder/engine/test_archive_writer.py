"""The archive for ``docker load``: what is in it, and that it is the same whether layers were stored or not."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.support.images import nothing, two_models
from thoth_models.errors import VerificationError
from thoth_models_builder.engine.archive_writer import (
    Part,
    StoredLayer,
    familiar_name,
    largest_size,
    layer_name,
    stream_archive,
)
from thoth_models_builder.errors import LayoutError
from thoth_models_builder.oci.layer_stream import LayerStream
from thoth_models_builder.oci.layers import Layer, bundle_layers, layer_descriptor
from thoth_models_builder.oci.layout import claim, write_layer
from thoth_models_builder.oci.layout_files import blob_path
from thoth_models_builder.oci.references import Reference

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from thoth_models.bundle.digest import Digest

NAME = Reference.parse("thoth-models:1.2")


@pytest.fixture
def layers(place: Path) -> tuple[Layer, ...]:
    return bundle_layers(two_models(place / "bundle"), place / "bundle", root="/models", mtime=0)


def config_of(digests: list[Digest]) -> bytes:
    return json.dumps({"rootfs": {"diff_ids": [digest.hex for digest in digests]}}).encode()


def archived(parts: Sequence[Part], reference: Reference = NAME) -> bytes:
    return b"".join(bytes(piece) for piece in stream_archive(parts, config_of, reference, mtime=0))


def stored(layout: Path, layers: Sequence[Layer]) -> list[StoredLayer]:
    with claim(layout):
        found = [(layer, write_layer(layout, layer, nothing)) for layer in layers]
    return [
        StoredLayer(path=blob_path(layout, digest), descriptor=layer_descriptor(layer, digest), name=layer_name(layer))
        for layer, digest in found
    ]


def test_what_is_in_an_archive(layers: tuple[Layer, ...]) -> None:
    data = archived([LayerStream(layer) for layer in layers])
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as file:
        contents = {}
        for member in file:
            opened = file.extractfile(member)
            assert opened is not None
            contents[member.name] = opened.read()
            assert (member.mtime, member.uid, member.gid, member.uname, member.mode) == (0, 0, 0, "", 0o444)
    (image,) = json.loads(contents["manifest.json"])
    assert image["RepoTags"] == ["thoth-models:1.2"]
    assert image["Layers"] == [f"{layer.input_digest}/layer.tar" for layer in layers]
    config = contents.pop(image["Config"])
    assert image["Config"] == f"{hashlib.sha256(config).hexdigest()}.json"
    digests = [hashlib.sha256(contents.pop(name)).hexdigest() for name in image["Layers"]]
    assert json.loads(config) == {"rootfs": {"diff_ids": digests}}
    assert json.loads(contents["repositories"]) == {"thoth-models": {"1.2": layers[-1].input_digest.hex}}
    assert contents.keys() == {"manifest.json", "repositories"}


def test_the_same_archive_from_a_layout_and_from_the_bundle(place: Path, layers: tuple[Layer, ...]) -> None:
    direct = archived([LayerStream(layer) for layer in layers])
    assert archived(stored(place / "layout", layers)) == direct
    assert archived([LayerStream(layer) for layer in layers]) == direct
    assert archived([LayerStream(layer) for layer in layers], Reference.parse("other:1")) != direct
    assert len(direct) <= largest_size([layer.size for layer in layers], 1000) <= len(direct) + 64 * 1024


def test_a_layer_that_is_there_twice_is_sent_once(place: Path, layers: tuple[Layer, ...]) -> None:
    (part,) = stored(place / "layout", layers[:1])
    data = archived([part, part])
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as file:
        assert file.getnames().count(part.name) == 1
        opened = file.extractfile("manifest.json")
        assert opened is not None
        assert json.loads(opened.read())[0]["Layers"] == [part.name, part.name]


@pytest.mark.parametrize(
    ("text", "repository", "tag"),
    [
        ("thoth-models:1", "thoth-models", "1"),
        ("thoth-models", "thoth-models", "latest"),
        ("acme/models:2", "acme/models", "2"),
        ("docker.io/library/models:3", "models", "3"),
        ("ghcr.io/acme/library/models:4", "ghcr.io/acme/library/models", "4"),
        ("localhost:5000/library/models:5", "localhost:5000/library/models", "5"),
    ],
)
def test_names_are_those_that_docker_shows(text: str, repository: str, tag: str) -> None:
    assert familiar_name(Reference.parse(text)) == (repository, tag)


@pytest.mark.hostile
@pytest.mark.parametrize("change", [lambda data: data[:-1] + b"x", lambda data: data[:-1], lambda _: b""])
def test_a_stored_layer_that_changed_ends_the_stream(change: object, place: Path, layers: tuple[Layer, ...]) -> None:
    parts = stored(place / "layout", layers)
    parts[1].path.chmod(0o644)
    parts[1].path.write_bytes(change(parts[1].path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(LayoutError, match=f"sha256 {parts[1].descriptor.digest}, found"):
        archived(parts)


def test_a_stored_layer_that_is_gone_ends_the_stream(place: Path, layers: tuple[Layer, ...]) -> None:
    parts = stored(place / "layout", layers)
    parts[0].path.unlink()
    with pytest.raises(LayoutError, match="found No such file"):
        archived(parts)


@pytest.mark.hostile
def test_a_file_that_changed_ends_the_stream(place: Path, layers: tuple[Layer, ...]) -> None:
    (place / "bundle" / "other" / "source" / "modules.json").chmod(0o644)
    (place / "bundle" / "other" / "source" / "modules.json").write_bytes(b"modules of nobody\n")
    with pytest.raises(VerificationError):
        archived([LayerStream(layer) for layer in layers])
