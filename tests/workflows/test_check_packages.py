"""The check of the packages that a release publishes."""

from __future__ import annotations

import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from tools.check_packages import findings

if TYPE_CHECKING:
    from pathlib import Path

CHANGELOG = "# Changelog\n\n## Unreleased\n\n## 1.2.3 (2026-11-29)\n\n## [1.2.2]\n"
NEEDS = ["thoth-models==1.2.3", 'thoth-models[onnx,torch]==1.2.3; extra == "compile"', "rich>=13"]


def text_of(name: str, version: str, needs: list[str]) -> bytes:
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {one}" for one in needs),
    ]
    return "\n".join([*lines, "", ""]).encode()


def wheel(place: Path, name: str, version: str, needs: list[str]) -> None:
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(place / f"{stem}-py3-none-any.whl", "w") as file:
        file.writestr(f"{stem}.dist-info/METADATA", text_of(name, version, needs))


def source(place: Path, name: str, version: str, needs: list[str]) -> None:
    stem = f"{name.replace('-', '_')}-{version}"
    with tarfile.open(place / f"{stem}.tar.gz", "w:gz") as file:
        for path in (f"{stem}/PKG-INFO", f"{stem}/{name}.egg-info/PKG-INFO"):
            member = tarfile.TarInfo(path)
            data = text_of(name, version, needs)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    for make in (wheel, source):
        make(tmp_path, "thoth-models", "1.2.3", ["numpy>=1.26"])
        make(tmp_path, "thoth-models-builder", "1.2.3", NEEDS)
    return tmp_path


@pytest.mark.parametrize("tag", [None, "v1.2.3"])
def test_packages_that_fit_have_no_findings(packages: Path, tag: str | None) -> None:
    assert findings(packages, tag, CHANGELOG) == []


@pytest.mark.parametrize("tag", ["v1.2.2", "1.2.3", "v1.2.3rc1", "v1.2", "v1.2.3 ", ""])
def test_a_tag_of_another_version_is_found(packages: Path, tag: str) -> None:
    assert f"{tag}: expected a tag v1.2.3, as the packages have it" in findings(packages, tag, CHANGELOG)


@pytest.mark.parametrize("changelog", ["", "## Unreleased\n", "## 1.2.30\n", "text 1.2.3\n"])
def test_a_version_that_the_changelog_does_not_have_is_found(packages: Path, changelog: str) -> None:
    assert findings(packages, "v1.2.3", changelog) == ["CHANGELOG.md: expected a section for 1.2.3, found none"]
    assert findings(packages, None, changelog) == []


@pytest.mark.parametrize(
    "needs",
    [
        ["rich>=13"],
        ["thoth-models>=1.2.3"],
        ["thoth-models==1.2.2"],
        [NEEDS[0], "thoth-models[onnx]==1.2.2; extra == 'x'"],
    ],
)
def test_a_builder_that_needs_another_runtime_is_found(packages: Path, needs: list[str]) -> None:
    wheel(packages, "thoth-models-builder", "1.2.3", needs)
    (finding,) = findings(packages, "v1.2.3", CHANGELOG)
    assert finding.startswith(
        "thoth_models_builder-1.2.3-py3-none-any.whl: expected it to need thoth-models==1.2.3, found"
    )


def test_two_versions_are_found(packages: Path) -> None:
    next(packages.glob("thoth_models-*.whl")).unlink()
    wheel(packages, "thoth-models", "1.2.4", [])
    assert f"{packages}: expected one version, found 1.2.3, 1.2.4" in findings(packages, "v1.2.3", CHANGELOG)


@pytest.mark.parametrize("name", ["thoth_models-1.2.3-py3-none-any.whl", "thoth_models_builder-1.2.3.tar.gz"])
def test_a_package_that_is_missing_is_found(packages: Path, name: str) -> None:
    (packages / name).unlink()
    (finding,) = findings(packages, "v1.2.3", CHANGELOG)
    assert "expected a wheel and a source distribution of each package" in finding


@pytest.mark.parametrize("name", ["notes.txt", "thoth_models-1.2.3-py3-none-any.whl", "thoth_models-1.2.3.tar.gz"])
def test_what_is_no_package_is_found(packages: Path, name: str) -> None:
    (packages / name).write_bytes(b"something else")
    assert findings(packages, "v1.2.3", CHANGELOG)


def test_a_wheel_without_metadata_is_found(packages: Path) -> None:
    with zipfile.ZipFile(packages / "thoth_models-1.2.3-py3-none-any.whl", "w") as file:
        file.writestr("x/thoth_models-1.2.3.dist-info/METADATA", b"")
    assert "expected one file of metadata, found 0" in findings(packages, None, CHANGELOG)[0]
