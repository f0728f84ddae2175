"""`image --sbom`: the wheels of an image, read from the layers of its base."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bills import properties
from tests.support.bundles import make_writable
from tests.support.images import CONFIG, GZIP_LAYER, INDEX, MANIFEST, LayoutMaker, entry, two_models
from tests.support.imaging import Quiet, make
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import LayoutError, OutputError, UsageError
from thoth_models_builder.pipeline.bill.image_wheels import REQUIREMENTS
from thoth_models_builder.trust.bill.requirements import MAX_REQUIREMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PLAIN_LAYER = GZIP_LAYER.removesuffix("+gzip")
ZSTD_LAYER = f"{PLAIN_LAYER}+zstd"
ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
NUMPY = f"# --python 3.13\nnumpy==2.4.6 --hash=sha256:{ONE}\n".encode()
OTHER = f"other==1 --hash=sha256:{TWO}\n".encode()

Entries = dict[str, "bytes | str"]
"""What a layer has: the content of files by path, or, as text, the target of a link."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    two_models(tmp_path / "bundle")
    yield tmp_path
    make_writable(tmp_path)


def archive(entries: Mapping[str, bytes | str]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for path, content in entries.items():
            member = tarfile.TarInfo(path)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return file.getvalue()


def base(root: Path, *layers: Entries | bytes, media_type: str = GZIP_LAYER, **platforms: Entries) -> Path:
    """A base of these layers, lowest first; or one image with one layer for each of several architectures."""
    maker = LayoutMaker(root)

    def image(architecture: str, stack: list[Entries | bytes]) -> dict[str, Any]:
        plain = [layer if isinstance(layer, bytes) else archive(layer) for layer in stack]
        packed = [gzip.compress(data, mtime=0) if media_type == GZIP_LAYER else data for data in plain]
        where = {"os": "linux", "architecture": architecture}
        diff_ids = [f"sha256:{Digest.of(data)}" for data in plain]
        config = {**where, "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": []}
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": maker.document(config, CONFIG),
            "layers": [maker.add(data, media_type) for data in packed],
        }
        return maker.document(document, MANIFEST, platform=where)

    if not platforms:
        return maker.finish(image("amd64", list(layers)))
    images = [image(name, [entries]) for name, entries in platforms.items()]
    return maker.finish(maker.document({"schemaVersion": 2, "mediaType": INDEX, "manifests": images}, INDEX))


def bill(place: Path, base: Path | None, *, watcher: Quiet | None = None, **options: Any) -> dict[str, Any]:
    bases = [] if base is None else [f"oci:{base}"]
    make(place / "bundle", f"oci:{place}/image", bases=bases, sbom=place / "sbom.cdx.json", watcher=watcher, **options)
    document: dict[str, Any] = json.loads((place / "sbom.cdx.json").read_bytes())
    return document


def wheels(document: dict[str, Any]) -> dict[str, str]:
    """The platforms of each wheel, by package URL and the beginning of its hash."""
    return {
        f"{part['purl']} {part['hashes'][0]['content'][:12]}": properties(part)["platforms"]
        for part in document["components"]
        if part["bom-ref"].startswith("wheel:")
    }


@pytest.mark.parametrize(("media_type", "prefix"), [(GZIP_LAYER, ""), (PLAIN_LAYER, "./"), (PLAIN_LAYER, "/")])
def test_the_wheels_of_the_base_are_in_the_bill_of_the_image(place: Path, media_type: str, prefix: str) -> None:
    layers: list[Entries | bytes] = [{"etc/x": b"x"}, {f"{prefix}{REQUIREMENTS}": NUMPY}, {"etc/y": b"y"}]
    document = bill(place, base(place / "base", *layers, media_type=media_type))
    assert wheels(document) == {f"pkg:pypi/numpy@2.4.6 {ONE.short}": "linux/amd64"}
    about = document["metadata"]["component"]
    assert about["version"] == entry(place / "image")["digest"]
    assert about["name"] == "test-bundle:latest"
    assert sorted(part["name"] for part in document["components"]) == ["mini", "numpy", "other", "test-bundle"]


def test_each_platform_has_its_own(place: Path) -> None:
    two = base(place / "base", amd64={REQUIREMENTS: NUMPY}, arm64={REQUIREMENTS: NUMPY + OTHER})
    document = bill(place, two)
    assert wheels(document) == {
        f"pkg:pypi/numpy@2.4.6 {ONE.short}": "linux/amd64, linux/arm64",
        f"pkg:pypi/other@1 {TWO.short}": "linux/arm64",
    }


def test_wheels_that_are_added_as_files_are_listed_too(place: Path) -> None:
    wheel = place / "some_package-1.0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    document = bill(place, None, wheels=[wheel])
    assert wheels(document) == {f"pkg:pypi/some-package@1.0 {Digest.of(b'a wheel').short}": "linux/amd64, linux/arm64"}


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([{REQUIREMENTS: NUMPY}, {REQUIREMENTS: OTHER}], OTHER),
        ([{REQUIREMENTS: NUMPY, f"./{REQUIREMENTS}": OTHER}], OTHER),
        ([{REQUIREMENTS: NUMPY}, {".wh.models-runtime": b"", REQUIREMENTS: OTHER}], OTHER),
        ([{REQUIREMENTS: NUMPY}, {".wh.models-runtime": b""}], None),
        ([{REQUIREMENTS: NUMPY}, {"./models-runtime/.wh.requirements.txt": b""}], None),
        ([{REQUIREMENTS: NUMPY}, {"models-runtime/.wh..wh..opq": b""}], None),
        ([{REQUIREMENTS: NUMPY}, {REQUIREMENTS: "/etc/passwd"}], None),
        ([{"etc/x": b"x"}], None),
    ],
)
def test_layers_cover_what_is_below_them(place: Path, layers: list[Entries | bytes], expected: bytes | None) -> None:
    watcher = Quiet()
    document = bill(place, base(place / "base", *layers), watcher=watcher)
    assert [found.split()[0] for found in wheels(document)] == ([] if expected is None else ["pkg:pypi/other@1"])
    notes = [note for note in watcher.notes if "wheels are not listed" in note]
    assert [note.partition(":")[0] for note in notes] == ([] if expected else ["linux/amd64"])


@pytest.mark.hostile
@pytest.mark.parametrize(
    "line", [b"\xff", b"numpy", b"-r /etc/passwd", b"#" * MAX_REQUIREMENTS], ids=["bytes", "bare", "option", "long"]
)
def test_of_requirements_of_another_form_none_are_listed(place: Path, line: bytes) -> None:
    assert wheels(bill(place, base(place / "base", {REQUIREMENTS: NUMPY + line}))) == {}


def test_a_layer_that_cannot_be_read_may_hide_the_requirements(place: Path) -> None:
    assert wheels(bill(place, base(place / "base", b"\x28\xb5\x2f\xfd", media_type=ZSTD_LAYER))) == {}


@pytest.mark.hostile
@pytest.mark.parametrize(
    "data", [b"no archive" * 100, archive({REQUIREMENTS: NUMPY * 20})[:700], b"\x1f\x8b" + b"x" * 600]
)
@pytest.mark.parametrize("media_type", [GZIP_LAYER, PLAIN_LAYER])
def test_a_layer_that_is_no_archive_is_refused(place: Path, data: bytes, media_type: str) -> None:
    with pytest.raises(LayoutError, match="expected the archive of a layer"):
        bill(place, base(place / "base", data, media_type=media_type))
    assert not (place / "sbom.cdx.json").exists()


def test_the_image_is_the_same_with_and_without_a_bill(place: Path) -> None:
    bill(place, None)
    with_bill = entry(place / "image")
    make(place / "bundle", f"oci:{place}/again")
    assert entry(place / "again") == with_bill
    first = (place / "sbom.cdx.json").read_bytes()
    bill(place, None)
    assert (place / "sbom.cdx.json").read_bytes() == first


def test_an_image_without_a_base_is_complete_and_one_with_a_base_is_not(place: Path) -> None:
    def aggregate(base: Path | None) -> str:
        document = bill(place, base)
        ref = document["metadata"]["component"]["bom-ref"]
        (found,) = [one["aggregate"] for one in document["compositions"] if ref in one.get("assemblies", ())]
        return str(found)

    assert aggregate(None) == "complete"
    assert aggregate(base(place / "base", {REQUIREMENTS: NUMPY})) == "incomplete"


def test_an_artifact_has_a_bill(place: Path) -> None:
    assert bill(place, None, format="modelpack")["metadata"]["component"]["type"] == "data"


@pytest.mark.parametrize("where", ["bundle/sbom.json", "image/sbom.json", "base/x/sbom.json", "nowhere/sbom.json"])
def test_a_bill_has_a_place_of_its_own(place: Path, where: str) -> None:
    base(place / "base", {REQUIREMENTS: NUMPY})
    (place / "image").mkdir()
    with pytest.raises(UsageError, match="bill of materials"):
        make(place / "bundle", f"oci:{place}/image", bases=[f"oci:{place}/base"], sbom=place / where)
    assert list((place / "image").iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(place: Path) -> None:
    (place / "sbom.cdx.json").mkdir()
    with pytest.raises(OutputError, match=r"sbom\.cdx\.json"):
        bill(place, None)
