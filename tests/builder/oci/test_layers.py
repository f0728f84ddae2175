"""Which file goes into which layer, and what a layer consists of."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import subprocess
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.builder.oci.images import two_models
from tests.bundles import ModelPlan, VariantPlan, flip_bit, golden_of, invented_model, make_bundle, opened, proved
from tests.registry_server import needs
from thoth_models.digest import Digest
from thoth_models.errors import VerificationError
from thoth_models_builder.errors import UsageError
from thoth_models_builder.oci.layers import Layer, LayerFile, bundle_layers, runtime_layer
from thoth_models_builder.oci.streams import LayerStream, packed_digest

if TYPE_CHECKING:
    from pathlib import Path


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
    assert [layer.recipe for layer in first.values()] == [layer.recipe for layer in second.values()]


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


def test_a_recipe_follows_from_everything(place: Path) -> None:
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
    assert len({layer.recipe, *(changed.recipe for changed in changes)}) == len(changes) + 1
    assert replace(layer, name="another").recipe == layer.recipe


# --- what changed since it was verified ---


def test_a_changed_byte_is_noticed_while_packing(place: Path) -> None:
    layer = layers_of(place / "b")["other/torch-fp32"]
    flip_bit(place / "b", "other/source/model.safetensors", offset=1234)
    with pytest.raises(VerificationError) as caught:
        packed(layer)
    (problem,) = caught.value.problems
    assert (problem.kind, problem.path) == ("changed", "models/other/source/model.safetensors")
    assert problem.expected.startswith("sha256 ")
    assert "packed after it was verified" in str(caught.value)


@pytest.mark.parametrize(("content", "found"), [(b"", "0 bytes"), (b"x" * 3001, "3001 bytes")])
def test_another_length_is_noticed_while_packing(content: bytes, found: str, place: Path) -> None:
    layer = layers_of(place / "b")["other/torch-fp32"]
    with opened(place / "b"):
        (place / "b" / "other" / "source" / "model.safetensors").write_bytes(content)
    with pytest.raises(VerificationError, match=f"expected 3000 bytes, found {found}"):
        packed(layer)


def test_a_missing_file_is_noticed_while_packing(place: Path) -> None:
    layer = layers_of(place / "b")["other/torch-fp32"]
    with opened(place / "b"):
        (place / "b" / "other" / "source" / "model.safetensors").unlink()
    with pytest.raises(VerificationError, match="expected a readable file, found No such file"):
        packed(layer)


def test_large_files_in_pieces(place: Path) -> None:
    content = bytes(range(256)) * 4096 * 11 + b"the end"  # more pieces than there are buffers
    layer = layers_of(place / "b", more={"large.bin": content})["other/torch-fp32"]
    data = packed(layer)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as file:
        opened_file = file.extractfile("models/other/source/large.bin")
        assert opened_file is not None
        assert opened_file.read() == content
    archive = place / "archive.tar"
    archive.write_bytes(data)
    found = packed_digest(archive, layer)
    assert found is not None
    assert found.hex == hashlib.sha256(data).hexdigest()


@pytest.mark.big
def test_a_file_of_more_than_8_gib(tmp_path: Path) -> None:
    """Larger than the size field of a plain header can say; zeros that take no room on the disk."""
    size, piece = 8 * 1024**3 + 12_345, bytes(1024 * 1024)
    (tmp_path / "zeros").touch()
    os.truncate(tmp_path / "zeros", size)
    zeros = hashlib.sha256()
    for _ in range(size // len(piece)):
        zeros.update(piece)
    zeros.update(piece[: size % len(piece)])
    layer = Layer(
        name="mini/onnx-fp32",
        kind="variant",
        directory="models",
        files=(
            LayerFile(path="models/a", size=size, sha256=Digest(zeros.hexdigest()), origin=tmp_path / "zeros"),
            LayerFile.of("models/b", b"what follows is found"),
        ),
        directories={"models": 0o555},
        mtime=0,
    )
    stream = LayerStream(layer)
    before, written = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
    with subprocess.Popen([needs("tar"), "-tv"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False) as tar:
        assert tar.stdin is not None
        assert tar.stdout is not None
        for data in stream:
            written += tar.stdin.write(data)
        tar.stdin.close()
        listed = tar.stdout.read().decode().splitlines()
    assert tar.returncode == 0
    assert [(line.split()[2], line.split()[-1]) for line in listed] == [
        ("0", "models/"),
        (str(size), "models/a"),
        ("21", "models/b"),
    ]
    assert written == layer.size
    assert stream.digest is not None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


# --- what is packed already ---


def test_any_other_byte_of_an_archive_is_seen(place: Path) -> None:
    layer = layers_of(place / "b")["mini/torch-fp32"]
    data = packed(layer)
    archive = place / "archive.tar"
    archive.write_bytes(data)
    assert packed_digest(archive, layer) is not None
    # Headers, content, padding and the end alike; a prime step, so that every part is met.
    for position in [*range(0, len(data), 61), len(data) - 1]:
        changed = bytearray(data)
        changed[position] ^= 1
        archive.write_bytes(changed)
        assert packed_digest(archive, layer) is None, position


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\0", lambda _: b""])
def test_an_archive_of_another_length_is_seen(change: object, place: Path) -> None:
    layer = layers_of(place / "b")["mini/torch-fp32"]
    archive = place / "archive.tar"
    archive.write_bytes(change(packed(layer)))  # type: ignore[operator]
    assert packed_digest(archive, layer) is None


def test_an_archive_that_is_not_there(place: Path) -> None:
    layer = layers_of(place / "b")["mini/torch-fp32"]
    assert packed_digest(place / "nothing", layer) is None
    assert packed_digest(place, layer) is None


def test_wheels_lie_beside_the_models() -> None:
    layer = runtime_layer([LayerFile.of("b.whl", b"2"), LayerFile.of("a.whl", b"1")], mtime=0)
    assert [file.path for file in layer.files] == ["models-runtime/a.whl", "models-runtime/b.whl"]
    assert layer.directories == {"models-runtime": 0o555}
