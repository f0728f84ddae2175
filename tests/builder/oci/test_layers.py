"""Which file goes into which layer, and what a layer consists of."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import (
    ModelPlan,
    VariantPlan,
    golden_of,
    invented_model,
    make_bundle,
    opened,
    proved,
)
from tests.support.images import two_models
from thoth_models_builder.errors import UsageError
from thoth_models_builder.oci.layer_stream import LayerStream
from thoth_models_builder.oci.layers import Layer, LayerFile, bundle_layers, runtime_layer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models_builder.oci import tar_headers as tar


def layers_of(root: Path, *, top: str = "/models", mtime: int = 0, **more: object) -> dict[str, Layer]:
    manifest = two_models(root, **more)  # type: ignore[arg-type]
    return {layer.name: layer for layer in bundle_layers(manifest, root, root=top, mtime=mtime)}


def packed(layer: Layer) -> bytes:
    stream = LayerStream(layer)
    data = b"".join(bytes(piece) for piece in stream)  # a piece is good until the next one
    assert stream.digest is not None
    assert stream.digest.hex == hashlib.sha256(data).hexdigest()
    assert len(data) == layer.size == stream.size
    return data


def test_one_layer_per_model_and_variant(place: Path) -> None:
    layers = layers_of(place / "b")
    assert [(layer.name, layer.kind) for layer in layers.values()] == [
        ("mini/onnx-fp32", "variant"),
        ("mini/torch-fp32", "variant"),
        ("other/torch-fp32", "variant"),
        ("manifest", "index"),
    ]
    assert layers["mini/torch-fp32"].directory == "models/mini/source"
    assert layers["manifest"].directory == "models"


def test_what_is_of_no_single_variant_is_shared_within_its_model(place: Path) -> None:
    common = VariantPlan(files={"model.safetensors": b"weights"})
    mini = ModelPlan(name="mini", variants={"torch-fp32": common, "torch-bf16": common})
    one = proved(invented_model("one"), golden_of(["text"]))
    manifest = make_bundle(place / "b", [mini, one])
    layers = bundle_layers(manifest, place / "b", root="/models", mtime=0)
    assert {layer.name: [file.path for file in layer.files] for layer in layers[:-1]} == {
        "mini/shared": ["models/mini/source/model.safetensors"],
        "one/shared": ["models/one/golden.json"],
        "one/torch-fp32": [f"models/one/source/{name}" for name in sorted(one.variants["torch-fp32"].files)],
    }
    assert [layer.kind for layer in layers] == ["shared", "shared", "variant", "index"]


def test_every_file_is_in_exactly_one_layer(place: Path) -> None:
    layers = layers_of(place / "b")
    paths = [file.path for layer in layers.values() for file in layer.files]
    there = [path for path in (place / "b").rglob("*") if path.is_file()]
    assert sorted(paths) == sorted(f"models/{path.relative_to(place / 'b')}" for path in there)


def test_entries_are_sorted_owned_by_nobody_and_of_one_time(place: Path) -> None:
    layer = layers_of(place / "b", mtime=1_700_000_000)["mini/torch-fp32"]
    with tarfile.open(fileobj=io.BytesIO(packed(layer)), mode="r:") as file:
        found = [(member.name, oct(member.mode), member.isdir(), member.mtime) for member in file]
        members = file.getmembers()
    source = "models/mini/source"
    assert found == [
        ("models", "0o555", True, 1_700_000_000),
        ("models/mini", "0o555", True, 1_700_000_000),
        (source, "0o555", True, 1_700_000_000),
        (f"{source}/1_Pooling", "0o555", True, 1_700_000_000),
        (f"{source}/1_Pooling/config.json", "0o444", False, 1_700_000_000),
        (f"{source}/empty.txt", "0o444", False, 1_700_000_000),
        (f"{source}/model.safetensors", "0o444", False, 1_700_000_000),
        (f"{source}/modules.json", "0o444", False, 1_700_000_000),
    ]
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {(0, 0, "", "")}
    assert all(not member.pax_headers for member in members)


def test_modes_on_disk_do_not_matter(place: Path) -> None:
    layers = layers_of(place / "b")
    before = [packed(layer) for layer in layers.values()]
    with opened(place / "b"):
        for path in (place / "b").rglob("*"):
            path.chmod(0o777)
        assert [packed(layer) for layer in layers.values()] == before


def test_directories_above_the_root_stay_open_to_their_owner(place: Path) -> None:
    layer = layers_of(place / "b", top="/opt/acme/models")["manifest"]
    assert layer.directories == {"opt": 0o755, "opt/acme": 0o755, "opt/acme/models": 0o555}


@pytest.mark.parametrize("root", ["", "/", "models", "/models/", "//models", "/a/../b", "/a/./b", "/a\nb"])
def test_a_root_that_is_no_plain_path(root: str, place: Path) -> None:
    with pytest.raises(UsageError, match="expected an absolute path below / as the bundle's root"):
        layers_of(place / "b", top=root)


def test_the_same_files_elsewhere_give_the_same_bytes(place: Path) -> None:
    first, second = layers_of(place / "a"), layers_of(place / "b" / "deeper")
    assert [packed(layer) for layer in first.values()] == [packed(layer) for layer in second.values()]
    assert [layer.input_digest for layer in first.values()] == [layer.input_digest for layer in second.values()]


def test_the_digest_of_a_layer_never_changes(place: Path) -> None:
    """Pinned: images of the same bundle must have the same layers, whatever version of this program made them."""
    content = LayerFile.of("models/mini/source/model.safetensors", b"weights\n")
    layer = Layer(
        name="mini/torch-fp32",
        kind="variant",
        directory="models/mini/source",
        files=(content, LayerFile.of("models/mini/source/" + "ä" * 60, bytes(range(256)) * 3)),
        directories={"models": 0o555, "models/mini": 0o555, "models/mini/source": 0o555},
        mtime=1_234_567_890,
    )
    assert (
        hashlib.sha256(packed(layer)).hexdigest() == "78556a326be3479ebc8e677475c00b0d94b055482174631f4c2f99a4fcf8d0cf"
    )


def test_an_input_digest_depends_on_everything_but_the_name(place: Path) -> None:
    layer = layers_of(place / "b")["other/torch-fp32"]
    file, *others = layer.files
    changes = [
        replace(layer, mtime=1),
        replace(layer, files=tuple(others)),
        replace(layer, files=(replace(file, path=f"{file.path}x"), *others)),
        replace(layer, files=(replace(file, size=file.size + 1), *others)),
        replace(layer, files=(LayerFile.of(file.path, b"x" * file.size), *others)),
        replace(layer, directories={**layer.directories, "models": 0o755}),
    ]
    assert len({layer.input_digest, *(changed.input_digest for changed in changes)}) == len(changes) + 1
    assert replace(layer, name="another").input_digest == layer.input_digest


def test_size_and_input_digest_are_computed_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layers_of(place / "b")["other/torch-fp32"]
    count = 0
    entries = Layer.entries

    def counted(self: Layer) -> Iterator[tuple[tar.Entry, LayerFile | None]]:
        nonlocal count
        count += 1
        return entries(self)

    monkeypatch.setattr(Layer, "entries", counted)
    seen = {(layer.size, layer.input_digest) for _ in range(12)}
    assert len(seen) == 1
    assert count == 2  # once for each of the two


# --- what changed since it was verified ---


# --- what is packed already ---


def test_wheels_lie_beside_the_models() -> None:
    layer = runtime_layer([LayerFile.of("b.whl", b"2"), LayerFile.of("a.whl", b"1")], mtime=0)
    assert [file.path for file in layer.files] == ["models-runtime/a.whl", "models-runtime/b.whl"]
    assert layer.directories == {"models-runtime": 0o555}
