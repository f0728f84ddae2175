"""The bill of materials of a bundle: valid by CycloneDX's own schema, complete, and the same every time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.bills import FACTS, changed, component, materials, properties, refused
from tests.support.bundles import measure
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.manifest import Origin
from thoth_models.bundle.report import Report
from thoth_models_builder.errors import UsageError
from thoth_models_builder.pipeline import inspect as reporting
from thoth_models_builder.trust.sbom import as_text, sbom

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.bundle.manifest import Manifest


def test_every_file_of_the_bundle_is_there_with_its_hash(manifest: Manifest) -> None:
    document = materials(manifest)
    found = {
        file["name"]: (file["type"], file["hashes"], properties(file)["size"])
        for model in document["components"]
        for file in model.get("components", [])
    }
    assert found == {
        path: ("file", [{"alg": "SHA-256", "content": content.sha256.hex}], str(content.size))
        for path, content in manifest.files.items()
    }


def test_the_bundle_is_what_the_bill_is_about_and_depends_on_its_models(manifest: Manifest) -> None:
    document = materials(manifest)
    digest = hashlib.sha256(manifest.to_bytes()).hexdigest()
    about = document["metadata"]["component"]
    assert about["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert properties(about)["set-digest"] == hashlib.sha256(manifest.checksums()).hexdigest()
    depends = {entry["ref"]: entry.get("dependsOn", []) for entry in document["dependencies"]}
    assert depends[about["bom-ref"]] == ["model:gone", "model:mini"]


def test_the_same_bundle_has_the_same_bill_in_another_process(place: Path, manifest: Manifest) -> None:
    text = reporting.sbom(place / "bundle")
    assert json.loads(text)["components"] == materials(manifest, facts=FACTS)["components"]
    program = f"from pathlib import Path; from thoth_models_builder.pipeline import inspect; print(inspect.sbom(Path({str(place / 'bundle')!r})), end='')"  # noqa: E501
    for seed in ("1", "2"):
        finished = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert finished.stdout == text


def test_another_bundle_or_other_figures_have_another_serial_number(manifest: Manifest, place: Path) -> None:
    report = Report.from_bytes(measure(place / "bundle", manifest).read_bytes())
    numbers = [
        materials(manifest)["serialNumber"],
        materials(manifest, report)["serialNumber"],
        materials(changed(manifest, license="mit"))["serialNumber"],
    ]
    assert len(set(numbers)) == len(numbers)
    assert [number[:9] for number in numbers] == ["urn:uuid:"] * len(numbers)
    assert "timestamp" not in materials(manifest)["metadata"]


def test_the_report_of_another_bundle_is_refused(manifest: Manifest, place: Path) -> None:
    path = measure(place / "bundle", manifest, bundle_digest=Digest.of(b"another"))
    with pytest.raises(UsageError, match="expected the report of the bundle"):
        sbom(manifest, Report.from_bytes(path.read_bytes()))


def test_without_the_extra_the_error_says_which(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    sbom(manifest)
    monkeypatch.delitem(sys.modules, "thoth_models_builder.trust.bill.document")
    monkeypatch.delattr("thoth_models_builder.trust.bill.document")
    monkeypatch.setitem(sys.modules, "cyclonedx.model.bom", None)
    with pytest.raises(UsageError, match=r"thoth-models-builder\[sbom\].*found no cyclonedx"):
        sbom(manifest)


def test_the_schema_does_refuse(manifest: Manifest) -> None:
    """The positive control of every test that validates."""
    for part, value in (("type", "no such type"), ("modelCard", {"modelParameters": {"task": 1}})):
        document = materials(manifest)
        document["components"][0][part] = value
        assert refused(json.dumps(document)) is not None


@pytest.mark.hostile
@pytest.mark.parametrize("text", ["MIT\u202e", "a\x1b[2Jb", "a\u2028b", "a\U000e0041b", "\x00", '"}], "x": [{"'])
def test_characters_that_are_not_seen_are_escaped_in_a_bill(manifest: Manifest, text: str) -> None:
    written = as_text(sbom(changed(manifest, license=text, license_link="https://example.org/" + text)))
    assert all(character.isprintable() or character == "\n" for character in written)
    assert json.loads(written)["specVersion"] == "1.6"
    found = component(json.loads(written), "mini")["licenses"][0]["license"]
    assert found["name"] == text.strip()


@pytest.mark.hostile
@pytest.mark.parametrize(
    "origin",
    [
        Origin(kind="hub", id="", revision=None),
        Origin(kind="hub", id="org/", revision="../../x"),
        Origin(kind="hub", id="/", revision="1" * 40),
        Origin(kind="hub", id="a b/c?d#e\u202e", revision="x y"),
        Origin(kind="wheel", id="==", revision=None),
        Origin(kind="wheel", id="a==b c/../", revision=None),
        Origin(kind="directory", id="/etc", revision="1"),
    ],
)
def test_an_origin_of_any_form_gives_a_valid_bill(manifest: Manifest, origin: Origin) -> None:
    document = materials(changed(manifest, origin=origin, configured=(), converted={"model.safetensors": {"x": "no"}}))
    assert component(document, "mini")["modelCard"]
    addresses = [link["url"] for link in component(document, "mini").get("externalReferences", [])]
    assert not any(" " in address or "?" in address or "#" in address for address in addresses)


def test_a_bundle_of_models_that_are_all_absent_has_a_bill(manifest: Manifest) -> None:
    document = materials(
        replace(manifest, default=None, models={"gone": replace(manifest.models["gone"], alternates=())})
    )
    assert [part["name"] for part in document["components"]] == ["gone"]
    assert "formulation" not in document
