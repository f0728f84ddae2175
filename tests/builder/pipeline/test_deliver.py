"""One image goes to several places: layouts share its layers, and archives are written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.support.images import (
    two_models,
    two_platforms,
)
from tests.support.imaging import files, make
from thoth_models_builder.errors import (
    OutputError,
    UsageError,
)
from thoth_models_builder.oci import layout as layout_module

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_time_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


@pytest.fixture
def bundle(place: Path) -> Path:
    two_models(place / "bundle")
    return place / "bundle"


def test_all_outputs_of_one_run_share_their_layers(place: Path, bundle: Path) -> None:
    targets = [f"oci:{place}/one", f"docker-archive:{place}/image.tar", f"oci:{place}/two"]
    report = make(bundle, *targets, name="acme/models:7")
    assert files(place / "one") == files(place / "two")
    assert [output.destination for output in report.outputs] == targets
    with tarfile.open(place / "image.tar") as archive:
        (described,) = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
        config = archive.extractfile(described["Config"]).read()  # type: ignore[union-attr]
        found = [hashlib.sha256(archive.extractfile(name).read()).hexdigest() for name in described["Layers"]]  # type: ignore[union-attr]
    assert found == [layer.digest for layer in report.layers]
    assert described["RepoTags"] == ["acme/models:7"]
    assert f"{report.outputs[1].digest}.json" == described["Config"]
    assert hashlib.sha256(config).hexdigest() in {manifest.config_digest for manifest in report.manifests}
    first, second = ((place / name / "blobs" / "sha256" / found[0]).stat() for name in ("one", "two"))
    assert first.st_ino == second.st_ino  # one copy on the disk


def test_an_archive_alone_needs_no_other_copy_of_the_layers(
    place: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(bundle, f"oci:{place}/layout", f"docker-archive:{place}/with.tar")

    def refuse(*_arguments: object) -> None:
        raise AssertionError("a layer was written on its own")

    monkeypatch.setattr(layout_module, "write_layer", refuse)
    make(bundle, f"docker-archive:{place}/without.tar")
    assert (place / "with.tar").read_bytes() == (place / "without.tar").read_bytes()
    assert {path.name for path in place.iterdir()} == {"bundle", "layout", "with.tar", "without.tar"}


@pytest.mark.parametrize(("machine", "expected"), [("x86_64", "amd64"), ("aarch64", "arm64")])
def test_an_archive_has_the_image_for_this_machine(
    place: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, machine: str, expected: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    make(bundle, f"docker-archive:{place}/image.tar", bases=[f"oci:{two_platforms(place / 'base')}"])
    with tarfile.open(place / "image.tar") as archive:
        (described,) = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
        config = json.loads(archive.extractfile(described["Config"]).read())  # type: ignore[union-attr]
    assert config["architecture"] == expected


def test_an_archive_for_a_machine_that_there_is_no_image_for(
    place: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    base = f"oci:{two_platforms(place / 'base')}"
    with pytest.raises(
        UsageError, match=r"this machine, linux/riscv64, or one --platform of linux/amd64, linux/arm64$"
    ):
        make(bundle, f"docker-archive:{place}/image.tar", bases=(base,))
    make(bundle, f"docker-archive:{place}/image.tar", bases=(base,), platforms=["linux/amd64"])


def test_an_archive_behind_a_link_takes_the_place_of_the_file(place: Path, bundle: Path) -> None:
    (place / "far").mkdir()
    (place / "far" / "image.tar").write_bytes(b"old")
    (place / "image.tar").symlink_to(place / "far" / "image.tar")
    make(bundle, f"docker-archive:{place}/image.tar")
    assert (place / "image.tar").is_symlink()
    assert tarfile.is_tarfile(place / "far" / "image.tar")
    assert [path.name for path in (place / "far").iterdir()] == ["image.tar"]


def test_a_place_that_cannot_be_written(place: Path, bundle: Path) -> None:
    (place / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="expected to write an archive"):
        make(bundle, f"docker-archive:{place}/file/image.tar")
    with pytest.raises(OutputError):
        make(bundle, f"oci:{place}/file")
    assert (place / "file").read_bytes() == b""
