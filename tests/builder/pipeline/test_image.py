"""``image`` from bundle to destinations: the same bytes every time, the exact tree, and refusals before any writing."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.attesting import Attestable, attest_options
from tests.support.bundles import flip_bit, invented_model, make_bundle, make_writable
from tests.support.images import (
    GZIP_LAYER,
    LayoutMaker,
    blob,
    configs,
    entry,
    layers,
    manifests,
    on_disk,
    read_json,
    two_models,
    two_platforms,
    unpacked,
)
from tests.support.imaging import Quiet, files, make
from tests.support.registry_server import needs
from tests.support.signing import make_key, sign_bundle
from thoth_models.bundle.digest import Digest
from thoth_models.errors import BundleNotFoundError, VerificationError
from thoth_models.process.environment import Trust
from thoth_models.verification.signatures.signature import Signature
from thoth_models.verification.verify import verify
from thoth_models_builder.errors import (
    ImageNotFoundError,
    LayoutError,
    NotEnoughSpaceError,
    OutputError,
    UsageError,
)
from thoth_models_builder.pipeline import image as imaging
from thoth_models_builder.pipeline.signing.attest import attest
from thoth_models_builder.pipeline.signing.check_attestations import check_attestations
from thoth_models_builder.trust.attestations.statement import Attestation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.builder_fixtures import Outcome


@pytest.fixture(autouse=True)
def _no_time_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


@pytest.fixture
def bundle(place: Path) -> Path:
    two_models(place / "bundle")
    return place / "bundle"


# --- the signature ---


@pytest.mark.signing
@pytest.mark.parametrize("root", ["/models", "/srv/acme/bundle"])
def test_the_signature_is_beside_the_bundle_in_a_layer_of_its_own(place: Path, bundle: Path, root: str) -> None:
    before = make(bundle, f"oci:{place}/layout", root=root)
    key = make_key(place)
    data = sign_bundle(bundle, key).read_bytes()
    report = make(bundle, f"oci:{place}/layout", root=root)
    assert [layer.name for layer in report.layers] == [*(layer.name for layer in before.layers), "signature"]
    assert [layer.is_reused for layer in report.layers] == [True] * len(before.layers) + [False]
    tree = place / "tree"
    for digest in layers(place / "layout").values():
        with tarfile.open(place / "layout" / "blobs" / "sha256" / digest.removeprefix("sha256:")) as archive:
            archive.extractall(tree, filter="tar")
    assert (tree / f"{root[1:]}.sig").read_bytes() == data
    assert verify(tree / root[1:], trust=key.public_file).signed_by is not None
    assert make(bundle, f"oci:{place}/layout", root=root).digest == report.digest
    make_writable(tree)


@pytest.mark.signing
def test_whom_a_service_trusts_is_in_the_image_and_its_environment(place: Path, bundle: Path) -> None:
    maker = LayoutMaker(place / "base")
    stated = {"Env": ["PATH=/usr/bin", "THOTH_TRUST_POLICY=off", "THOTH_TRUST=/elsewhere"]}
    images = [maker.image(architecture, config={"config": stated}) for architecture in ("amd64", "arm64")]
    base = maker.finish(maker.index(*images))
    key = make_key(place)
    sign_bundle(bundle, key)
    trust = place / "trust"
    trust.mkdir()
    shutil.copy(key.public_file, trust)
    (trust / ".hidden").write_bytes(b"not read")
    without = make(bundle, f"oci:{place}/layout", bases=[f"oci:{base}"])
    report = make(bundle, f"oci:{place}/layout", bases=[f"oci:{base}"], trust=trust)
    assert [layer.name for layer in report.layers] == [*(layer.name for layer in without.layers), "trust"]
    for manifest, config in zip(manifests(place / "layout"), configs(place / "layout"), strict=True):
        assert [entry for entry in config["config"]["Env"] if entry.startswith("THOTH_TRUST")] == [
            "THOTH_TRUST=/etc/thoth-models/trust",
            "THOTH_TRUST_POLICY=require",
        ]
        nodes = unpacked([blob(place / "layout", layer["digest"]) for layer in manifest["layers"]])
        top = "etc/thoth-models/trust"
        assert {path: node.mode for path, node in nodes.items() if path.startswith(top)} == {
            top: 0o555,
            f"{top}/release.pub": 0o444,
        }
        assert nodes[f"{top}/release.pub"].content == key.public_file.read_bytes()
        assert nodes["etc"].mode == 0o755
        assert "etc/os-release" in nodes
    tree = place / "tree"
    for digest in layers(place / "layout").values():
        with tarfile.open(place / "layout" / "blobs" / "sha256" / digest.removeprefix("sha256:")) as archive:
            archive.extractall(tree, filter="tar")
    assert verify(tree / "models", trust=tree / "etc/thoth-models/trust").signed_by is not None
    make_writable(tree)
    again = make(bundle, f"oci:{place}/again", bases=[f"oci:{base}"], trust=key.public_file)
    assert again.digest == report.digest


@pytest.mark.hostile
@pytest.mark.signing
def test_whom_the_base_trusts_is_not_trusted_as_well(place: Path, bundle: Path) -> None:
    """A base that is the image of the same bundle with a key that has been replaced since, under another name."""
    base = f"oci:{two_platforms(place / 'base')}"
    former, key = make_key(place, "former"), make_key(place)
    sign_bundle(bundle, former)
    make(bundle, f"oci:{place}/former", bases=[base], trust=former.public_file)
    sign_bundle(bundle, key)
    make(bundle, f"oci:{place}/layout", bases=[f"oci:{place}/former"], trust=key.public_file)
    for manifest in manifests(place / "layout"):
        nodes = unpacked([blob(place / "layout", layer["digest"]) for layer in manifest["layers"]])
        assert [path for path in nodes if path.startswith("etc/thoth-models/trust/")] == [
            "etc/thoth-models/trust/release.pub"
        ]


@pytest.mark.hostile
@pytest.mark.signing
def test_an_image_does_not_trust_whose_signature_its_bundle_does_not_have(place: Path, bundle: Path) -> None:
    base = f"oci:{two_platforms(place / 'base')}"
    key, other = make_key(place), make_key(place, "other")
    with pytest.raises(VerificationError, match="expected a signature of this bundle, found nothing"):
        make(bundle, f"oci:{place}/layout", bases=[base], trust=key.public_file)
    sign_bundle(bundle, other)
    hidden = shutil.copy(other.public_file, place / ".release.pub")
    with pytest.raises(VerificationError, match="found one by the key"):
        make(bundle, f"oci:{place}/layout", bases=[base], trust=key.public_file)
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({}, "expected --base beside --trust"),
        ({"format": "modelpack"}, "expected no --trust for a ModelPack"),
        ({"bases": [base], "root": "/etc/thoth-models"}, "expected a root of the bundle that"),
        ({"bases": [base], "trust": hidden}, "expected a file to trust whose name does not begin with a dot"),
    )
    for options, said in refused:
        with pytest.raises(UsageError, match=said):
            make(bundle, f"oci:{place}/layout", **{"trust": other.public_file, **options})
    assert not (place / "layout").exists()


@pytest.mark.hostile
@pytest.mark.signing
def test_the_signature_of_another_bundle_is_not_packed(place: Path, bundle: Path) -> None:
    make_bundle(place / "other", [invented_model("mini")])
    path = sign_bundle(place / "other", make_key(place)).rename(place / "bundle.sig")
    with pytest.raises(UsageError, match=r"bundle\.sig: expected a signature of the bundle .*, found one of "):
        make(bundle, f"oci:{place}/layout")
    path.write_bytes(b"a user's own")
    with pytest.raises(UsageError, match=r"bundle\.sig: expected the signature of the bundle or no file"):
        make(bundle, f"oci:{place}/layout")
    assert not (place / "layout").exists()


# --- the attestations ---


@pytest.mark.signing
@pytest.mark.parametrize("format_", ["image", "modelpack"])
def test_attestations_are_beside_the_bundle_in_a_layer_of_their_own(place: Path, format_: str) -> None:
    Attestable(place).write()
    bundle, key, layout = place / "bundle", make_key(place), f"oci:{place}/layout"
    sign_bundle(bundle, key)
    before = make(bundle, layout, format=format_)
    attest(attest_options(place, key))
    report = make(bundle, layout, format=format_)
    assert [layer.name for layer in report.layers] == [*(layer.name for layer in before.layers), "attestations"]
    assert [layer.is_reused for layer in report.layers] == [True] * len(before.layers) + [False]
    tree = place / "tree"
    for layer in report.layers:
        with tarfile.open(place / "layout" / "blobs" / "sha256" / layer.digest) as archive:
            archive.extractall(tree, filter="tar")
    assert (tree / "models.intoto.jsonl").read_bytes() == (place / "bundle.intoto.jsonl").read_bytes()
    found = check_attestations(verify(tree / "models", trust=key.public_file), Trust(path=key.public_file))
    assert len(found) == 3
    make_writable(tree)


@pytest.mark.hostile
def test_attestations_of_another_bundle_are_not_packed(place: Path, bundle: Path) -> None:
    path = place / "bundle.intoto.jsonl"
    statement = Attestation("x", Digest.of(b"another"), "https://example.org/scan", {}).to_bytes()
    path.write_bytes(Signature(payload=statement, signature=b"made").to_bytes())
    with pytest.raises(
        UsageError, match=r"bundle\.intoto\.jsonl: expected attestations of the bundle .*, found one of"
    ):
        make(bundle, f"oci:{place}/layout")
    path.write_bytes(b"a user's own\n")
    with pytest.raises(UsageError, match=r"bundle\.intoto\.jsonl: expected the attestations of the bundle or no file"):
        make(bundle, f"oci:{place}/layout")
    assert not (place / "layout").exists()


# --- the same bytes ---


def test_two_builds_are_the_same_to_the_byte(place: Path) -> None:
    for name in ("here", "somewhere/else"):
        two_models(place / name / "bundle")
        make(place / name / "bundle", f"oci:{place}/{name}/layout", f"docker-archive:{place}/{name}/image.tar")
    assert files(place / "here" / "layout") == files(place / "somewhere" / "else" / "layout")
    archives = [(place / name / "image.tar").read_bytes() for name in ("here", "somewhere/else")]
    assert archives[0] == archives[1]


def test_the_digest_of_an_image_never_changes(place: Path) -> None:
    """Pinned for layers, configuration, manifest and index. What changes it must be worth that all images change."""
    make_bundle(place / "bundle", [invented_model("mini", variants=("onnx-fp32", "torch-fp32"))], name="pinned")
    report = make(place / "bundle", f"oci:{place}/layout")
    assert report.digest == "ded9b5333c06d00e5367efa91e338c2c7a339e3479bd811f6568db0df738bc8b"


def test_one_changed_model_changes_its_layers_and_the_top(place: Path, bundle: Path) -> None:
    make(bundle, f"oci:{place}/layout")
    before = layers(place / "layout")
    kept = {name: (place / "layout" / "blobs" / "sha256" / digest[7:]).stat() for name, digest in before.items()}
    make_writable(bundle)
    shutil.rmtree(bundle)
    two_models(bundle, more={"vocab.txt": b"another file\n"})
    report = make(bundle, f"oci:{place}/layout")
    after = layers(place / "layout")
    assert {name for name in before if before[name] != after[name]} == {"other/torch-fp32", "manifest"}
    assert {layer.name: layer.is_reused for layer in report.layers} == {
        "mini/onnx-fp32": True,
        "mini/torch-fp32": True,
        "other/torch-fp32": False,
        "manifest": False,
    }
    for name in ("mini/onnx-fp32", "mini/torch-fp32"):
        status = (place / "layout" / "blobs" / "sha256" / after[name][7:]).stat()
        assert (status.st_ino, status.st_mtime_ns) == (kept[name].st_ino, kept[name].st_mtime_ns)
    # What only the image before needed is gone.
    assert not (place / "layout" / "blobs" / "sha256" / before["manifest"][7:]).exists()
    assert report.outputs[0].bytes == sum(layer.size for layer in report.layers if not layer.is_reused)


def test_an_image_that_is_there_is_not_written_again(place: Path, bundle: Path) -> None:
    first = make(bundle, f"oci:{place}/layout")
    before = {path: path.stat().st_mtime_ns for path in (place / "layout").rglob("*") if path.is_file()}
    second = make(bundle, f"oci:{place}/layout")
    assert {path: path.stat().st_mtime_ns for path in (place / "layout").rglob("*") if path.is_file()} == before
    assert (second.digest, second.outputs[0].bytes) == (first.digest, 0)
    assert all(layer.is_reused for layer in second.layers)


def test_the_time_is_what_source_date_epoch_says(place: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(bundle, f"oci:{place}/plain")
    assert "org.opencontainers.image.created" not in configs(place / "plain")[0]["config"]["Labels"]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    make(bundle, f"oci:{place}/dated")
    config = configs(place / "dated")[0]
    assert config["created"] == "2023-11-14T22:13:20Z"
    assert config["config"]["Labels"]["org.opencontainers.image.created"] == "2023-11-14T22:13:20Z"
    nodes = unpacked([blob(place / "dated", digest) for digest in layers(place / "dated").values()])
    assert {node.mtime for node in nodes.values()} == {1_700_000_000}
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH: expected seconds since 1970"):
        make(bundle, f"oci:{place}/none")
    assert not (place / "none").exists()


# --- what is in it ---


def test_all_layers_together_are_the_bundle(place: Path, bundle: Path) -> None:
    make(bundle, f"oci:{place}/layout")
    assert entry(place / "layout")["mediaType"] == "application/vnd.oci.image.index.v1+json"
    for manifest in manifests(place / "layout"):
        nodes = unpacked([blob(place / "layout", layer["digest"]) for layer in manifest["layers"]])
        assert {path: (node.kind, node.mode, node.content) for path, node in nodes.items()} == on_disk(bundle, "models")
        assert {(node.owner, node.mtime) for node in nodes.values()} == {((0, 0), 0)}
    documents = [read_json(place / "layout", child) for child in index_of(place / "layout")["manifests"]]
    assert [config["architecture"] for config in configs(place / "layout")] == ["amd64", "arm64"]
    assert documents[0]["layers"] == documents[1]["layers"]


def index_of(layout: Path) -> dict[str, Any]:
    return read_json(layout, entry(layout))


def test_digests_of_contents_are_those_of_the_layers(place: Path, bundle: Path) -> None:
    report = make(bundle, f"oci:{place}/layout", platforms=["linux/arm64/v8"])
    (manifest,) = manifests(place / "layout")
    (config,) = configs(place / "layout")
    digests = [layer["digest"] for layer in manifest["layers"]]
    assert config["rootfs"]["diff_ids"] == digests == [f"sha256:{layer.digest}" for layer in report.layers]
    assert (config["architecture"], config["variant"]) == ("arm64", "v8")
    assert entry(place / "layout")["digest"] == f"sha256:{report.digest}"
    assert entry(place / "layout")["platform"] == {"os": "linux", "architecture": "arm64", "variant": "v8"}
    assert entry(place / "layout")["annotations"]["org.opencontainers.image.ref.name"] == "latest"


def test_modelpack_has_the_layers_of_the_image(place: Path, bundle: Path) -> None:
    make(bundle, f"oci:{place}/image")
    report = make(bundle, f"oci:{place}/artifact", format="modelpack")
    assert layers(place / "image") == layers(place / "artifact")
    (manifest,) = manifests(place / "artifact")
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    config = read_json(place / "artifact", manifest["config"])
    assert config["modelfs"]["diffIds"] == list(layers(place / "artifact").values())
    assert report.digest == entry(place / "artifact")["digest"].removeprefix("sha256:")
    # And an image takes its place, for which nothing has to be written but documents.
    assert make(bundle, f"oci:{place}/artifact").outputs[0].bytes == 0


# --- on a base ---


def test_layers_on_every_image_of_a_base(place: Path, bundle: Path) -> None:
    base = two_platforms(place / "base")
    before = files(base)
    wheel = place / "thoth_models-1-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    report = make(bundle, f"oci:{place}/layout", bases=[f"oci:{base}"], wheels=[wheel])
    make(bundle, f"oci:{place}/data")
    assert files(base) == before
    assert [manifest.platform for manifest in report.manifests] == ["linux/amd64", "linux/arm64/v8"]
    for manifest, config, architecture in zip(
        manifests(place / "layout"), configs(place / "layout"), ("amd64", "arm64"), strict=True
    ):
        assert config["architecture"] == architecture
        assert config["config"]["User"] == "65532:65532"
        assert config["config"]["Cmd"] == ["python3"]
        assert config["config"]["Env"][0] == "PATH=/usr/bin"
        assert "HF_HUB_OFFLINE=1" in config["config"]["Env"]
        assert config["config"]["Labels"]["kept"] == "yes"
        assert "org.opencontainers.image.source" not in config["config"]["Labels"]
        theirs, *ours = manifest["layers"]
        assert theirs["mediaType"] == GZIP_LAYER
        # The digest of a compressed layer is not that of its content.
        assert config["rootfs"]["diff_ids"][0] != theirs["digest"]
        assert config["rootfs"]["diff_ids"][1:] == [layer["digest"] for layer in ours]
        assert len([entry for entry in config["history"] if not entry.get("empty_layer")]) == len(manifest["layers"])
        nodes = unpacked([blob(place / "layout", layer["digest"]) for layer in manifest["layers"]])
        expected = on_disk(bundle, "models")
        expected["models-runtime"] = ("directory", 0o555, None)
        expected[f"models-runtime/{wheel.name}"] = ("file", 0o444, b"a wheel")
        expected["etc/os-release"] = ("file", 0o644, f"for {architecture}\n".encode())
        assert {path: (node.kind, node.mode, node.content) for path, node in nodes.items()} == expected
    shared = layers(place / "data")
    assert {name: digest for name, digest in layers(place / "layout").items() if name != "runtime"} == shared


def one_platform(root: Path, architecture: str, *, variant: str | None = None) -> Path:
    maker = LayoutMaker(root)
    platform = {} if variant is None else {"variant": variant}
    return maker.finish(maker.image(architecture, config=None, **platform))


def test_bases_of_several_platforms_are_one(place: Path, bundle: Path) -> None:
    bases = [one_platform(place / "amd64", "amd64"), one_platform(place / "arm64", "arm64", variant="v8")]
    before = [files(base) for base in bases]
    joined = make(bundle, f"oci:{place}/joined", bases=[f"oci:{base}" for base in bases])
    index = make(bundle, f"oci:{place}/index", bases=[f"oci:{two_platforms(place / 'base')}"])
    assert joined.digest == index.digest
    assert files(place / "joined") == files(place / "index")
    assert [files(base) for base in bases] == before
    one = make(bundle, f"oci:{place}/one", bases=[f"oci:{base}" for base in bases], platforms=["linux/arm64"])
    assert [manifest.platform for manifest in one.manifests] == ["linux/arm64/v8"]


def test_bases_are_refused_where_they_do_not_make_one(place: Path, bundle: Path) -> None:
    arm = [f"oci:{one_platform(place / name, 'arm64', variant='v8')}" for name in ("a", "b")]
    with pytest.raises(UsageError, match="expected each platform in one base, found linux/arm64 in two"):
        make(bundle, f"oci:{place}/layout", bases=arm)
    amd = f"oci:{one_platform(place / 'amd64', 'amd64')}"
    with pytest.raises(ImageNotFoundError, match="expected a base for linux/s390x, found linux/amd64, linux/arm64"):
        make(bundle, f"oci:{place}/layout", bases=[amd, arm[0]], platforms=["linux/s390x", "linux/amd64"])
    (layer,) = manifests(place / "a")[0]["layers"]
    flip_bit(place / "a", f"blobs/sha256/{layer['digest'][7:]}", offset=20)
    with pytest.raises(LayoutError, match="expected sha256"):
        make(bundle, f"oci:{place}/layout", bases=[amd, arm[0]])
    assert not (place / "layout" / "index.json").exists()


def test_an_image_on_a_base_says_on_which(place: Path, bundle: Path) -> None:
    base = two_platforms(place / "base")
    children = index_of(base)["manifests"]
    make(bundle, f"oci:{place}/layout", bases=[f"oci:{base}"])
    for manifest, config, child in zip(manifests(place / "layout"), configs(place / "layout"), children, strict=False):
        name = "org.opencontainers.image.base.digest"
        assert manifest["annotations"][name] == config["config"]["Labels"][name] == child["digest"]


def test_one_platform_of_a_base(place: Path, bundle: Path) -> None:
    base = two_platforms(place / "base")
    report = make(bundle, f"docker-archive:{place}/image.tar", bases=[f"oci:{base}"], platforms=["linux/arm64/v8"])
    with tarfile.open(place / "image.tar") as archive:
        (described,) = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
        contents = [archive.extractfile(name).read() for name in described["Layers"]]  # type: ignore[union-attr]
    nodes = unpacked(contents)
    assert nodes["etc/os-release"].content == b"for arm64\n"
    assert nodes["models/manifest.json"].content == (bundle / "manifest.json").read_bytes()
    assert report.manifests[0].config_digest == report.outputs[0].digest
    with pytest.raises(ImageNotFoundError, match="expected an image for linux/s390x"):
        make(bundle, f"oci:{place}/layout", bases=[f"oci:{base}"], platforms=["linux/s390x"])


@pytest.mark.hostile
def test_a_damaged_layer_of_a_base_is_not_used(place: Path, bundle: Path) -> None:
    base = two_platforms(place / "base")
    (layer, *_) = manifests(base)[0]["layers"]
    path = base / "blobs" / "sha256" / layer["digest"][7:]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(LayoutError, match="expected sha256"):
        make(bundle, f"oci:{place}/layout", bases=[f"oci:{base}"])
    assert not (place / "layout" / "index.json").exists()


def test_an_image_of_ours_is_a_base_too(place: Path, bundle: Path) -> None:
    make(bundle, f"oci:{place}/one", bases=[f"oci:{two_platforms(place / 'base')}"])
    make(bundle, f"oci:{place}/two", bases=[f"oci:{place}/one"])
    nodes = unpacked([blob(place / "two", layer["digest"]) for layer in manifests(place / "two")[0]["layers"]])
    assert nodes["models/manifest.json"].content == (bundle / "manifest.json").read_bytes()


@pytest.mark.hostile
def test_a_base_with_another_bundle_is_refused(place: Path, bundle: Path) -> None:
    """What is left of the other one would be in the image, and no verification would pass."""
    make_bundle(place / "other", [invented_model("mini", variants=("torch-fp32",))])
    make(place / "other", f"oci:{place}/one")
    with pytest.raises(UsageError, match="expected a base without another bundle, found one with 'sha256:"):
        make(bundle, f"oci:{place}/two", bases=[f"oci:{place}/one"])


def test_a_layout_whose_blobs_are_elsewhere_is_left_alone(place: Path, bundle: Path) -> None:
    """Two layouts may share their blobs like that: what one of them does not need the other may."""
    make(bundle, f"oci:{place}/a")
    (place / "a" / "blobs").rename(place / "shared")
    for name in ("a", "b"):
        (place / name).mkdir(exist_ok=True)
        (place / name / "blobs").symlink_to(place / "shared")
    shutil.copy(place / "a" / "oci-layout", place / "b")
    before = files(place / "shared")
    with pytest.raises(OutputError, match="expected blobs of its own, which go when they are not needed, found a link"):
        make(bundle, f"oci:{place}/b")
    assert files(place / "shared") == before


def test_what_a_killed_run_began_of_a_layout_is_in_nobodys_way(place: Path, bundle: Path) -> None:
    (place / "layout").mkdir()
    (place / "layout" / ".oci-layout.0123456789abcdef").write_bytes(b"{")
    make(bundle, f"oci:{place}/layout")


def test_wheels_from_a_directory(place: Path, bundle: Path) -> None:
    (place / "wheels").mkdir()
    for name in ("b-1-py3-none-any.whl", "a-1-py3-none-any.whl", "notes.txt"):
        (place / "wheels" / name).write_bytes(name.encode())
    make(bundle, f"oci:{place}/layout", wheels=[place / "wheels"])
    assert list(layers(place / "layout"))[-2:] == ["runtime", "manifest"]
    nodes = unpacked([blob(place / "layout", layers(place / "layout")["runtime"])])
    assert sorted(nodes) == [
        "models-runtime",
        "models-runtime/a-1-py3-none-any.whl",
        "models-runtime/b-1-py3-none-any.whl",
    ]
    with pytest.raises(UsageError, match=r"expected each wheel once, found two called a-1-py3-none-any\.whl"):
        make(bundle, f"oci:{place}/layout", wheels=[place / "wheels", place / "wheels" / "a-1-py3-none-any.whl"])


# --- refusals ---


@pytest.mark.hostile
def test_a_damaged_bundle_is_not_packed(place: Path, bundle: Path) -> None:
    flip_bit(bundle, "mini/onnx-fp32/model.safetensors")
    with pytest.raises(VerificationError):
        make(bundle, f"oci:{place}/layout")
    assert not (place / "layout").exists()
    with pytest.raises(BundleNotFoundError):
        make(place / "nothing", f"oci:{place}/layout")


@pytest.mark.hostile
def test_a_file_that_changes_after_it_was_verified(place: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = verify

    def verify_then_change(root: Path, **options: Any) -> object:
        report = real(root, **options)
        flip_bit(root, "other/source/model.safetensors", offset=99)
        return report

    monkeypatch.setattr(imaging, "verify", verify_then_change)
    for target in (f"oci:{place}/layout", f"docker-archive:{place}/image.tar"):
        with pytest.raises(VerificationError, match=r"other/source/model\.safetensors: changed"):
            make(bundle, target)
        flip_bit(bundle, "other/source/model.safetensors", offset=99)
    assert not (place / "layout" / "index.json").exists()
    assert not [path for path in place.iterdir() if path.name.endswith(".tar")]


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def nearly_full(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def leave(free: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12 - free, free))

    return leave


@pytest.mark.parametrize("kind", ["oci", "docker-archive"])
def test_a_disk_that_cannot_hold_it_is_refused_early(
    kind: str, place: Path, bundle: Path, nearly_full: Callable[[int], None]
) -> None:
    nearly_full(10_000)
    target = place / "sub" / "target"
    with pytest.raises(NotEnoughSpaceError, match=r"target: expected [0-9,]+ bytes free, found 10,000"):
        make(bundle, f"{kind}:{target}")
    written = {path.name for path in target.rglob("*")} if kind == "oci" else set()
    assert written <= {"oci-layout", "blobs", "sha256"}


def test_layers_that_are_there_need_no_room(place: Path, bundle: Path, nearly_full: Callable[[int], None]) -> None:
    watcher = Quiet()
    report = make(bundle, f"oci:{place}/layout", watcher=watcher)
    total = sum(layer.size for layer in report.layers)
    assert watcher.notes[0] == f"4 layers, {total:,} bytes"
    assert watcher.notes[1] == f"  mini/onnx-fp32: {report.layers[0].size:,} bytes"
    assert watcher.notes[5].startswith(f"peak disk: {total + 1024 * 1024:,} bytes at {place}/layout, ")
    nearly_full(1024 * 1024)
    watcher = Quiet()
    make(bundle, f"oci:{place}/layout", watcher=watcher)
    assert watcher.notes[1] == f"  mini/onnx-fp32: {report.layers[0].size:,} bytes, there already"
    nearly_full(1024 * 1024 - 1)
    with pytest.raises(NotEnoughSpaceError):
        make(bundle, f"oci:{place}/layout")


@pytest.mark.parametrize(
    ("targets", "options", "message"),
    [
        ([], {}, "expected at least one destination"),
        (["somewhere"], {}, "expected a destination .oci:DIR, docker-archive:FILE, .*, found 'somewhere'"),
        (["oci:"], {}, "expected a destination"),
        (["docker:"], {}, "expected a destination"),
        (["oci:{}/a", "oci:{}/b/../a"], {}, "expected different destinations"),
        (["docker", "docker"], {}, "expected different destinations"),
        (["oci:{}/a"], {"name": "Not A Name"}, "image reference"),
        (["registry:localhost:5000/models"], {}, "expected a tag or a digest, found neither"),
        (["docker:models@sha256:" + "0" * 64], {}, "found a digest, which follows from the content"),
        (["oci:{}/a"], {"bases": ["busybox"]}, "expected a base image"),
        (["oci:{}/a"], {"bases": ["registry:busybox"]}, "expected a tag or a digest"),
        (["oci:{}/bundle/a"], {}, "expected a destination outside of the bundle and of the base"),
        (["oci:{}/base"], {"bases": ["oci:{}/base"]}, "expected a destination outside of the bundle and of the base"),
        (["docker"], {"format": "modelpack"}, "expected oci: or registry: for a ModelPack artifact, found docker"),
        (["oci:{}/a"], {"format": "modelpack", "bases": ["oci:{}/base"]}, "expected no --base for a ModelPack"),
        (["oci:{}/a"], {"format": "modelpack", "platforms": ["linux/amd64"]}, "expected no --platform for a ModelPack"),
        (["oci:{}/a"], {"platforms": ["amd64"]}, "expected a platform such as linux/amd64, found 'amd64'"),
        (["oci:{}/a"], {"platforms": ["linux/amd64", "linux/amd64"]}, "expected each platform once"),
        (["oci:{}/a:1"], {}, "expected oci:DIR, whose image is named by --name NAME:TAG"),
        (["docker-archive:{}"], {}, "expected the path of a file, or of none yet, found something else"),
        (["docker-archive:/dev/null"], {}, "expected the path of a file, or of none yet, found something else"),
        (["oci:{}/a"], {"labels": {"thoth-models.bundle-digest": "sha256:0"}}, "expected labels other than those"),
        (["oci:{}/a"], {"root": "models"}, "expected an absolute path below /"),
        (["oci:{}/a"], {"root": "/lib/models"}, "outside of the directories that a system needs as they are"),
        (["oci:{}/a"], {"root": "/run"}, "outside of the directories that a system needs as they are"),
        (["oci:{}/a"], {"root": "/var/run/models"}, "outside of the directories that a system needs as they are"),
        (["oci:{}/a"], {"wheels": ["{}/bundle/manifest.json"]}, "expected a wheel or a directory of wheels"),
        (["oci:{}/a"], {"wheels": ["{}/no.whl"]}, "expected a readable wheel, found No such file"),
    ],
)
def test_what_does_not_go_together(
    targets: list[str], options: dict[str, Any], message: str, place: Path, bundle: Path
) -> None:
    from pathlib import Path

    filled = dict(options)
    for name, kind in (("bases", str), ("wheels", Path)):
        if name in filled:
            filled[name] = [kind(text.replace("{}", str(place))) for text in filled[name]]
    with pytest.raises(UsageError, match=message):
        make(bundle, *(target.replace("{}", str(place)) for target in targets), **filled)
    assert {path.name for path in place.iterdir()} == {"bundle"}


@pytest.mark.hostile
def test_a_layout_of_others_stays_as_it_is(place: Path, bundle: Path) -> None:
    base = two_platforms(place / "base")
    before = files(base)
    with pytest.raises(OutputError, match=r"no annotation thoth-models\.bundle-digest"):
        make(bundle, f"oci:{base}")
    assert files(base) == before


# --- what other programs make of it ---


@pytest.fixture
def single(place: Path, bundle: Path) -> Path:
    make(bundle, f"oci:{place}/layout", platforms=["linux/amd64"])
    return place / "layout"


def test_skopeo_inspects_and_copies_every_platform(place: Path, bundle: Path) -> None:
    skopeo = needs("skopeo")
    report = make(bundle, f"oci:{place}/layout")
    shown = subprocess.run([skopeo, "inspect", f"oci:{place}/layout"], check=True, capture_output=True)
    document = json.loads(shown.stdout)
    assert document["Digest"] == f"sha256:{report.digest}"
    assert document["Layers"] == [f"sha256:{layer.digest}" for layer in report.layers]
    assert document["Labels"]["thoth-models.bundle-digest"] == f"sha256:{report.bundle_digest}"
    copy = [skopeo, "copy", "--all", "--preserve-digests", f"oci:{place}/layout:latest", f"oci:{place}/copy:latest"]
    subprocess.run(copy, check=True, capture_output=True)
    assert entry(place / "copy")["digest"] == f"sha256:{report.digest}"
    blobs = {path.name for path in (place / "layout" / "blobs" / "sha256").iterdir()}
    assert {path.name for path in (place / "copy" / "blobs" / "sha256").iterdir()} == blobs


def test_skopeo_reads_the_archive(place: Path, bundle: Path) -> None:
    skopeo = needs("skopeo")
    report = make(bundle, f"docker-archive:{place}/image.tar", bases=[f"oci:{two_platforms(place / 'base')}"])
    copy = [skopeo, "copy", f"docker-archive:{place}/image.tar", f"oci:{place}/copy:latest"]
    subprocess.run(copy, check=True, capture_output=True)
    (config,) = configs(place / "copy")
    assert config["rootfs"]["diff_ids"][1:] == [f"sha256:{layer.digest}" for layer in report.layers]
    assert config["config"]["User"] == "65532:65532"


def test_skopeo_copies_an_artifact(place: Path, bundle: Path) -> None:
    skopeo = needs("skopeo")
    report = make(bundle, f"oci:{place}/layout", format="modelpack")
    shown = subprocess.run([skopeo, "inspect", "--raw", f"oci:{place}/layout"], check=True, capture_output=True)
    assert hashlib.sha256(shown.stdout).hexdigest() == report.digest


def test_umoci_unpacks_the_exact_tree(place: Path, bundle: Path, single: Path) -> None:
    umoci = needs("umoci")
    command = [umoci, "unpack", "--rootless", "--image", f"{single}:latest", str(place / "unpacked")]
    subprocess.run(command, check=True, capture_output=True)
    try:
        expected = on_disk(bundle, "models")
        assert on_disk(place / "unpacked" / "rootfs" / "models", "models") == expected
        assert {path.name for path in (place / "unpacked" / "rootfs").iterdir()} == {"models"}
    finally:
        make_writable(place / "unpacked")


def test_gnu_tar_reads_a_layer(place: Path, single: Path) -> None:
    digest = layers(single)["mini/onnx-fp32"]
    listed = subprocess.run(
        [needs("tar"), "--utc", "-tvf", single / "blobs" / "sha256" / digest[7:]],
        check=True,
        capture_output=True,
        text=True,
    )
    assert listed.stdout.splitlines()[0].split() == ["dr-xr-xr-x", "0/0", "0", "1970-01-01", "00:00", "models/"]
    assert listed.stderr == ""


# --- the command ---


def test_the_command_reports_what_it_did(place: Path, bundle: Path, command: Callable[..., Outcome]) -> None:
    arguments = ("image", str(bundle), f"--to=oci:{place}/layout", f"--to=docker-archive:{place}/image.tar")
    done = command(*arguments, "--label", "org.opencontainers.image.source=https://example.org/a=b")
    assert done.code == 0
    assert "peak disk: " in done.err
    document = json.loads(command(*arguments, "--json", "--platform=linux/amd64").out)
    assert document["ok"] is True
    assert document["layers"][0].keys() == {"name", "size", "digest", "is_reused"}
    for layer in document["layers"]:
        assert layer["digest"] in done.out
    assert f"oci:{place}/layout: {place}/layout, " in done.out
    assert "linux/arm64: manifest sha256:" in done.out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--to=nowhere"], 2),
        (["--to=oci:{}/a", "--base=oci:{}/none"], 4),
        (["--to=oci:{}/a", "--models-root=relative"], 2),
        (["{}/nothing", "--to=oci:{}/a"], 4),
    ],
)
def test_exit_codes(
    arguments: list[str], code: int, place: Path, bundle: Path, command: Callable[..., Outcome]
) -> None:
    filled = [argument.replace("{}", str(place)) for argument in arguments]
    root = [] if filled[0].startswith("/") else [str(bundle)]
    assert command("image", *root, *filled).code == code


def test_exit_code_of_a_damaged_bundle(place: Path, bundle: Path, command: Callable[..., Outcome]) -> None:
    flip_bit(bundle, "mini/onnx-fp32/model.safetensors")
    assert command("image", str(bundle), f"--to=oci:{place}/layout").code == 1


@pytest.mark.parametrize("label", ["no-value", "=value"])
def test_a_label_that_is_none(label: str, command: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command("image", "--to=oci:x", "--label", label)
    assert caught.value.code == 2
    assert f"expected KEY=VALUE, found {label!r}" in capsys.readouterr().err
