"""The bill of materials: valid by CycloneDX's own schema, complete, and the same every time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.support.bundles import invented_model, make_bundle, make_writable
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.manifest import ConfiguredFile, Manifest, Origin
from thoth_models_builder.errors import UsageError
from thoth_models_builder.pipeline import inspect as reporting
from thoth_models_builder.trust.sbom import sbom

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    make_writable(tmp_path)


@pytest.fixture
def manifest(place: Path) -> Manifest:
    models = [
        invented_model("mini", variants=("onnx-fp32", "torch-fp32"), aliases=("small",)),
        replace(invented_model("gone", alternates=(("mini", "accept"),)), variants={}),
    ]
    return make_bundle(place / "bundle", models, default="mini")


def materials(manifest: Manifest) -> dict[str, Any]:
    text = sbom(manifest, Digest.of(manifest.to_bytes()))
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert error is None, str(error)[:2000]
    return json.loads(text)  # type: ignore[no-any-return]


def component(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [part for part in document["components"] if part["name"] == name]
    return dict(found)


def properties(part: dict[str, Any]) -> dict[str, str]:
    return {fact["name"].removeprefix("thoth-models:"): fact["value"] for fact in part["properties"]}


def changed(manifest: Manifest, **changes: Any) -> Manifest:
    """The manifest with another origin or licence of `mini`."""
    model = manifest.models["mini"]
    assert model.built is not None
    built = replace(model.built, **changes)
    return replace(manifest, models={**manifest.models, "mini": replace(model, built=built)})


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


def test_a_model_says_what_it_is_and_where_it_comes_from(manifest: Manifest) -> None:
    model = component(materials(manifest), "mini")
    built = manifest.models["mini"].built
    assert built is not None
    assert model["type"] == "machine-learning-model"
    assert model["version"] == built.origin.revision
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    facts = properties(model)
    assert facts["space"] == built.space.hex
    assert facts["variants"] == "onnx-fp32, torch-fp32"
    assert facts["aliases"] == "small"
    assert (facts["dimension"], facts["state"], facts["unit-length"]) == ("8", "present", "yes")


def test_a_file_that_is_not_as_the_origin_has_it_is_named_with_the_reasons(tmp_path: Path) -> None:
    file = ConfiguredFile(path="modules.json", origin=None, reasons=("pooling: cls", "another"))
    manifest = make_bundle(tmp_path / "bundle", [replace(invented_model("mini"), configured=(file,))], default="mini")
    assert properties(component(materials(manifest), "mini"))["configured:modules.json"] == "pooling: cls; another"
    make_writable(tmp_path)


def test_the_hash_of_a_model_can_be_made_with_coreutils(manifest: Manifest, place: Path) -> None:
    script = "grep '  mini/' SHA256SUMS | sha256sum"
    finished = subprocess.run(["sh", "-c", script], cwd=place / "bundle", capture_output=True, check=True)
    (found,) = component(materials(manifest), "mini")["hashes"]
    assert finished.stdout.split()[0].decode() == found["content"]


def test_a_model_that_is_absent_is_told_as_absent(manifest: Manifest) -> None:
    model = component(materials(manifest), "gone")
    assert properties(model)["state"] == "absent"
    assert "hashes" not in model
    assert "components" not in model


def test_the_bundle_is_what_the_bill_is_about_and_depends_on_its_models(manifest: Manifest) -> None:
    document = materials(manifest)
    digest = hashlib.sha256(manifest.to_bytes()).hexdigest()
    about = document["metadata"]["component"]
    assert about["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert properties(about)["set-digest"] == hashlib.sha256(manifest.checksums()).hexdigest()
    depends = {entry["ref"]: entry.get("dependsOn", []) for entry in document["dependencies"]}
    assert depends[about["bom-ref"]] == ["model:gone", "model:mini"]


@pytest.mark.parametrize(
    ("origin", "purl"),
    [
        (Origin(kind="hub", id="acme/mini", revision="1" * 40), f"pkg:huggingface/acme/mini@{'1' * 40}"),
        (Origin(kind="hub", id="mini", revision=None), "pkg:huggingface/mini"),
        (Origin(kind="wheel", id="Some_Models==0.1.0", revision=None), "pkg:pypi/some-models@0.1.0"),
        (Origin(kind="directory", id="./models", revision=None), None),
    ],
)
def test_an_origin_has_a_package_url_where_there_is_such_a_thing(
    manifest: Manifest, origin: Origin, purl: str | None
) -> None:
    assert component(materials(changed(manifest, origin=origin)), "mini").get("purl") == purl


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cc-by-nc-4.0", [{"license": {"id": "CC-BY-NC-4.0"}}]),
        ("Apache-2.0 OR MIT", [{"expression": "Apache-2.0 OR MIT"}]),
        ("gpl-3.0", [{"license": {"id": "GPL-3.0-only"}}]),
        ("odc-by", [{"license": {"id": "ODC-By-1.0"}}]),
        ("MIT AND gemma", [{"expression": "MIT AND LicenseRef-gemma"}]),
        ("gpl-2.0 with classpath-exception-2.0", [{"expression": "GPL-2.0-only WITH Classpath-exception-2.0"}]),
        ("llama3 community", [{"license": {"name": "llama3 community"}}]),
        ("Gemma", [{"license": {"name": "Gemma"}}]),
        ("unknown", None),
        (None, None),
    ],
)
def test_a_licence_is_an_identifier_an_expression_or_a_name(
    manifest: Manifest, text: str | None, expected: list[dict[str, Any]] | None
) -> None:
    found = component(materials(changed(manifest, license=text)), "mini").get("licenses")
    if found and "expression" in found[0]:
        found = [{"expression": found[0]["expression"]}]
    assert found == expected


def test_the_same_bundle_has_the_same_bill_in_another_process(manifest: Manifest, place: Path) -> None:
    text = reporting.sbom(place / "bundle")
    assert text == sbom(manifest, Digest.of(manifest.to_bytes()))
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


def test_another_bundle_has_another_serial_number(manifest: Manifest) -> None:
    other = changed(manifest, license="mit")
    assert materials(manifest)["serialNumber"] == materials(manifest)["serialNumber"]
    assert materials(other)["serialNumber"] != materials(manifest)["serialNumber"]


def test_without_the_extra_one_is_told_which(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cyclonedx.model.bom", None)
    with pytest.raises(UsageError, match=r"thoth-models-builder\[sbom\].*found no cyclonedx"):
        sbom(manifest, Digest.of(manifest.to_bytes()))


def test_the_schema_does_refuse(manifest: Manifest) -> None:
    """The positive control of every test above."""
    document = materials(manifest)
    document["components"][0]["type"] = "no such type"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is not None
