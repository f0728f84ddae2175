"""A bill of materials as another tool reads it: lib4sbom, which shares no code with the library that writes it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lib4sbom
import pytest
from jsonschema import Draft7Validator
from lib4sbom.generator import SBOMGenerator
from lib4sbom.parser import SBOMParser
from lib4sbom.validator import SBOMValidator

from tests.support.bills import FACTS, changed, compiled_bundle
from tests.support.bundles import invented_model, make_bundle, make_writable, measure
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.report import Report
from thoth_models_builder.trust.bill.requirements import Wheel
from thoth_models_builder.trust.sbom import ImageContent, as_text, image_sbom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thoth_models.bundle.manifest import Manifest

# lib4sbom leaves files open.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PAGE = Path(__file__).parents[2] / "docs" / "ci.md"
COMMIT = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
NUMPY = Wheel(name="numpy", version="2.4.6", sha256=Digest.of(b"numpy"), platforms=("linux/amd64",))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    make_writable(tmp_path)


@pytest.fixture
def manifest(place: Path) -> Manifest:
    return compiled_bundle(place / "bundle")


def written(place: Path, manifest: Manifest) -> Path:
    """The bill of an image, in a file with the name by which tools know CycloneDX."""
    report = Report.from_bytes(measure(place / "bundle", manifest, minimum_cosine=0.9951).read_bytes())
    digest = Digest.of(b"an image")
    image = ImageContent(name="thoth-models:1", digest=digest, is_runnable=True, wheels=[NUMPY], is_complete=False)
    path = place / "image.cdx.json"
    path.write_text(as_text(image_sbom(image, manifest, report, FACTS)), encoding="utf-8")
    return path


def read(path: Path) -> SBOMParser:
    parser = SBOMParser()
    parser.parse_file(str(path))
    return parser


def package(parser: SBOMParser, name: str) -> dict[str, Any]:
    (found,) = [one for one in parser.get_packages() if one["name"] == name]
    return dict(found)


def purl(found: dict[str, Any]) -> str | None:
    return next((value for _, kind, value in found.get("externalreference", ()) if kind == "purl"), None)


def test_another_validator_accepts_it(place: Path, manifest: Manifest) -> None:
    path = written(place, manifest)
    validator = SBOMValidator("cyclonedx", version="1.6")
    assert validator.validate_file(str(path)) == {"CycloneDX": "1.6"}
    path.write_text(path.read_text(encoding="utf-8").replace('"container"', '"no such type"'), encoding="utf-8")
    assert validator.validate_file(str(path)) == {"CycloneDX": False}


def test_another_tool_finds_names_versions_licences_and_hashes(place: Path, manifest: Manifest) -> None:
    parser = read(written(place, manifest))
    names = {one["name"] for one in parser.get_packages()}
    assert names >= {"mini", "gone", "numpy", "torch", "onnx", *manifest.files}
    mini, numpy, torch = (package(parser, name) for name in ("mini", "numpy", "torch"))
    assert (mini["version"], mini["licensedeclared"]) == (COMMIT, "Apache-2.0")
    assert "licenseconcluded" not in mini
    assert mini["supplier"] == "tests"
    assert (numpy["version"], numpy["checksum"]) == ("2.4.6", [["SHA256", str(NUMPY.sha256)]])
    assert (purl(numpy), purl(torch)) == ("pkg:pypi/numpy@2.4.6", "pkg:pypi/torch@2.13.0")
    assert purl(mini) == f"pkg:huggingface/tests/mini@{COMMIT}"
    for path, content in manifest.files.items():
        assert package(parser, path)["checksum"] == [["SHA256", str(content.sha256)]]


def test_another_tool_finds_the_model_card(place: Path, manifest: Manifest) -> None:
    card = package(read(written(place, manifest)), "mini")["modelCard"]
    assert (card["task"], card["architecture"], card["model"]) == ("feature-extraction", "bert", "BertModel")
    assert any("0.99510" in map(str, metric) for metric in card["performance"])
    assert any("truncated to 16 tokens" in limit for limit in card["limitation"])


@pytest.mark.parametrize(
    ("license", "found"), [("MIT AND gemma", "MIT AND LicenseRef-gemma"), ("gpl-3.0", "GPL-3.0-only")]
)
def test_another_tool_finds_licences_of_other_forms(
    place: Path,
    manifest: Manifest,
    license: str,  # noqa: A002
    found: str,
) -> None:
    # A name without an id is UNKNOWN to lib4sbom, whatever it is.
    parser = read(written(place, changed(manifest, license=license)))
    assert package(parser, "mini")["licensedeclared"] == found


def test_it_converts_to_spdx_which_says_the_same(place: Path, manifest: Manifest) -> None:
    first = read(written(place, manifest))
    target = place / "image.spdx.json"
    generator = SBOMGenerator(sbom_type="spdx", format="json")
    sbom = {
        "type": "spdx",
        "packages": {(one["name"], one.get("version")): one for one in first.get_packages()},
        "relationships": first.get_relationships(),
    }
    generator.generate("thoth-models", sbom, filename=str(target), send_to_output=True)
    document = json.loads(target.read_bytes())
    assert document["spdxVersion"] == "SPDX-2.3"
    schema = json.loads((Path(lib4sbom.__file__).parent / "schemas" / "spdx" / "2.3-schema.json").read_bytes())
    differences = list(Draft7Validator(schema).iter_errors(document))
    # SPDX 2.3 has no words for these types of CycloneDX, which lib4sbom takes over nevertheless.
    assert {error.path[-1] for error in differences} == {"primaryPackagePurpose"}
    assert {error.instance for error in differences} == {"DATA", "MACHINE-LEARNING-MODEL", "PLATFORM"}
    second = read(target)
    assert package(second, "mini")["licensedeclared"] == "Apache-2.0"
    assert package(second, "numpy")["checksum"] == [["SHA256", str(NUMPY.sha256)]]
    assert purl(package(second, "torch")) == "pkg:pypi/torch@2.13.0"


def test_the_commands_of_the_page_do_what_they_say(place: Path) -> None:
    make_bundle(place / "bundle", [invented_model("mini")], default="mini")
    section = PAGE.read_text(encoding="utf-8").partition("### The bill of materials\n")[2]
    lines = [line.removeprefix("$ ") for line in section.splitlines() if line.startswith("$ ")]
    assert [shlex.split(line)[0] for line in lines] == ["thoth-bundle", "grep", "thoth-bundle"]
    program = f"{shlex.quote(sys.executable)} -m thoth_models_builder"
    outputs = [
        subprocess.run(
            ["sh", "-c", line.replace("thoth-bundle", program, 1)],
            check=True,
            cwd=place,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        for line in lines
    ]
    document = json.loads((place / "sbom.cdx.json").read_bytes())
    assert document["components"][0]["hashes"][0]["content"] == outputs[1].split()[0]
    assert json.loads((place / "image.cdx.json").read_bytes())["metadata"]["component"]["type"] == "container"
