"""What a bill of materials says of itself: how complete it is, and how what it lists was made."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bills import compiled_bundle, component, materials, properties, validated
from thoth_models.bundle.digest import Digest
from thoth_models_builder.trust.bill.requirements import Wheel
from thoth_models_builder.trust.sbom import ImageContent, image_sbom

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.bundle.manifest import Manifest

DIGEST = Digest.of(b"an image")
NUMPY = Wheel(name="numpy", version="2.4.6", sha256=Digest.of(b"numpy"), platforms=("linux/amd64",))
RUNTIME = Wheel(name="thoth-models", version="1.0", sha256=None, platforms=("linux/amd64", "linux/arm64"))
IMAGE = ImageContent(name="thoth-models:1", digest=DIGEST, is_runnable=True, wheels=[NUMPY, RUNTIME], is_complete=False)


def with_all_models(manifest: Manifest) -> Manifest:
    return replace(manifest, models={"mini": manifest.models["mini"]})


def aggregates(document: dict[str, Any], kind: str = "assemblies") -> dict[str, str]:
    """What is said of each part, by its reference up to the first digest."""
    return {
        ref if ref.startswith(("model:", "tool:")) else ref.partition(":")[0]: one["aggregate"]
        for one in document["compositions"]
        for ref in one.get(kind, ())
    }


def refs(value: object) -> list[str]:
    """Every `bom-ref` of a document."""
    if isinstance(value, dict):
        own = [value["bom-ref"]] if "bom-ref" in value else []
        return own + [ref for part in value.values() for ref in refs(part)]
    return [ref for part in value for ref in refs(part)] if isinstance(value, list) else []


def test_an_absent_model_makes_a_bundle_incomplete(manifest: Manifest) -> None:
    assert aggregates(materials(manifest)) == {
        "bundle": "incomplete",
        "model:mini": "complete",
        "model:gone": "incomplete",
    }


def test_a_bundle_with_all_models_is_complete(manifest: Manifest) -> None:
    assert aggregates(materials(with_all_models(manifest))) == {"bundle": "complete", "model:mini": "complete"}


def test_what_libraries_need_themselves_is_not_known(manifest: Manifest) -> None:
    found = aggregates(materials(with_all_models(manifest)), "dependencies")
    assert found["bundle"] == "complete"
    assert {found[ref] for ref in found if ref.startswith("tool:")} == {"unknown"}


def test_the_formulation_says_what_was_made_from_what_and_with_what(manifest: Manifest) -> None:
    document = materials(manifest)
    (formula,) = document["formulation"]
    (workflow,) = formula["workflows"]
    assert [one["resource"]["ref"] for one in workflow["inputs"]] == ["file:mini/source/model.safetensors"]
    assert [one["resource"]["ref"] for one in workflow["outputs"]] == [
        f"file:{path}" for path in sorted(manifest.files) if "/source/" not in path
    ]
    assert [one["ref"] for one in workflow["resourceReferences"]] == [
        "tool:compiler@0cb11d0c89f7",
        "tool:onnx@1.23.2",
        "tool:python@3.11",
        "tool:torch@2.13.0+cpu",
    ]
    assert properties(workflow)["machine"] == "x86_64"


def test_without_source_files_the_formulation_names_the_commit(place: Path) -> None:
    manifest = compiled_bundle(place / "other", with_source=False)
    ((given,),) = [formula["workflows"][0]["inputs"] for formula in materials(manifest)["formulation"]]
    assert given["resource"]["externalReference"]["url"].startswith("https://huggingface.co/tests/mini/tree/1110a24")


def test_every_reference_has_a_target_and_every_name_is_there_once(manifest: Manifest) -> None:
    document = validated(image_sbom(IMAGE, manifest))
    known = refs(document)
    assert len(known) == len(set(known)) > 20
    wanted = [
        ref for one in document["compositions"] for key in ("assemblies", "dependencies") for ref in one.get(key, ())
    ]
    wanted += [entry["ref"] for entry in document["dependencies"]]
    wanted += [ref for entry in document["dependencies"] for ref in entry.get("dependsOn", ())]
    for formula in document["formulation"]:
        for workflow in formula["workflows"]:
            wanted += [one["ref"] for one in workflow["resourceReferences"]]
            wanted += [one["resource"]["ref"] for one in (*workflow["inputs"], *workflow["outputs"])]
    assert set(wanted) <= set(known)


def test_an_image_has_its_bundle_its_models_and_its_wheels(manifest: Manifest) -> None:
    document = validated(image_sbom(IMAGE, manifest))
    about = document["metadata"]["component"]
    assert (about["type"], about["name"], about["version"]) == ("container", "thoth-models:1", f"sha256:{DIGEST}")
    depends = {entry["ref"]: entry.get("dependsOn", []) for entry in document["dependencies"]}
    bundle = component(document, "test-bundle")["bom-ref"]
    wheels = [f"wheel:numpy@2.4.6:{NUMPY.sha256}", "wheel:thoth-models@1.0"]
    assert depends[about["bom-ref"]] == sorted([bundle, *wheels])
    assert depends[bundle] == ["model:gone", "model:mini"]
    numpy = component(document, "numpy")
    assert (numpy["purl"], numpy["scope"]) == ("pkg:pypi/numpy@2.4.6", "required")
    assert numpy["hashes"] == [{"alg": "SHA-256", "content": str(NUMPY.sha256)}]
    assert properties(numpy) == {"platforms": "linux/amd64"}
    assert "hashes" not in component(document, "thoth-models")


@pytest.mark.parametrize(
    ("is_complete", "all_models", "expected"),
    [(True, True, "complete"), (False, True, "incomplete"), (True, False, "incomplete")],
)
def test_an_image_is_complete_without_a_base_and_with_all_models(
    manifest: Manifest, *, is_complete: bool, all_models: bool, expected: str
) -> None:
    content = replace(IMAGE, is_complete=is_complete, wheels=())
    document = validated(image_sbom(content, with_all_models(manifest) if all_models else manifest))
    assert aggregates(document)["image"] == expected


def test_an_artifact_is_data(manifest: Manifest) -> None:
    document = validated(image_sbom(replace(IMAGE, is_runnable=False, wheels=(), is_complete=True), manifest))
    assert document["metadata"]["component"]["type"] == "data"
