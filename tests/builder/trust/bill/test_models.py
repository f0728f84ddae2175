"""Models and files in a bill of materials: what they are, whose, under which licence, and made from what."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bills import (
    ORIGINAL,
    PICKLE,
    changed,
    compiled_bundle,
    component,
    configured,
    file_of,
    materials,
    properties,
)

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.bundle.manifest import Manifest

COMMIT = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
TOOLS = "Toolchain: compiler 0cb11d0c89f7, machine x86_64, onnx 1.23.2, python 3.11, torch 2.13.0+cpu"


def ancestors(file: dict[str, Any]) -> dict[str, str | None]:
    """The hash of each ancestor, by name."""
    return {
        one["name"]: one["hashes"][0]["content"] if "hashes" in one else None
        for one in file["pedigree"].get("ancestors", ())
    }


def in_bundle(manifest: Manifest, *paths: str) -> dict[str, str | None]:
    return {path: manifest.files[path].sha256.hex for path in paths}


def test_a_model_says_what_it_is_and_where_it_comes_from(manifest: Manifest) -> None:
    model = component(materials(manifest), "mini")
    built = manifest.models["mini"].built
    assert built is not None
    assert (model["type"], model["version"]) == ("machine-learning-model", COMMIT)
    facts = properties(model)
    assert facts["space"] == built.space.hex
    assert facts["variants"] == "onnx-fp32, onnx-int8, torch-fp32"
    assert facts["aliases"] == "small"
    assert (facts["dimension"], facts["state"], facts["unit-length"]) == ("8", "present", "yes")


def test_whose_a_model_is(manifest: Manifest) -> None:
    model = component(materials(manifest), "mini")
    assert model["publisher"] == "tests"
    assert model["supplier"] == {"name": "tests", "url": ["https://huggingface.co/tests"]}
    assert {link["type"]: link["url"] for link in model["externalReferences"]} == {
        "vcs": "https://huggingface.co/tests/mini",
        "distribution": f"https://huggingface.co/tests/mini/tree/{COMMIT}",
        "model-card": f"https://huggingface.co/tests/mini/blob/{COMMIT}/README.md",
    }


def test_a_model_that_is_absent_says_so(manifest: Manifest) -> None:
    model = component(materials(manifest), "gone")
    assert properties(model) == {"alternates": "mini", "dimension": "8", "state": "absent"}
    assert set(model) == {"bom-ref", "name", "properties", "type"}


def test_the_hash_of_a_model_can_be_made_with_coreutils(manifest: Manifest, place: Path) -> None:
    script = "grep '  mini/' SHA256SUMS | sha256sum"
    finished = subprocess.run(["sh", "-c", script], cwd=place / "bundle", capture_output=True, check=True)
    (found,) = component(materials(manifest), "mini")["hashes"]
    assert finished.stdout.split()[0].decode() == found["content"]


def test_a_source_file_has_its_address_and_no_pedigree(manifest: Manifest) -> None:
    file = file_of(materials(manifest), "mini/source/model.safetensors")
    assert "pedigree" not in file
    assert file["externalReferences"] == [
        {"type": "distribution", "url": f"https://huggingface.co/tests/mini/resolve/{COMMIT}/model.safetensors"}
    ]


@pytest.mark.parametrize(
    ("variant", "step"), [("onnx-fp32", "weights in fp32"), ("onnx-int8", "then quantised: products of activations")]
)
@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data"])
def test_a_graph_comes_from_the_weights(manifest: Manifest, variant: str, step: str, name: str) -> None:
    file = file_of(materials(manifest), f"mini/{variant}/{name}")
    assert ancestors(file) == in_bundle(manifest, "mini/source/model.safetensors")
    notes = file["pedigree"]["notes"]
    assert notes.startswith("exported by torch as one ONNX graph")
    assert step in notes
    assert notes.endswith(TOOLS)


def test_tokenizer_and_settings_come_from_the_other_source_files(manifest: Manifest) -> None:
    others = [f"mini/source/{name}" for name in ("config.json", "modules.json", "tokenizer.json")]
    for name in ("tokenizer.json", "settings.json"):
        file = file_of(materials(manifest), f"mini/onnx-int8/{name}")
        assert ancestors(file) == in_bundle(manifest, *others)
        assert "quantised" not in file["pedigree"]["notes"]


def test_golden_vectors_come_from_all_source_files(manifest: Manifest) -> None:
    file = file_of(materials(manifest), "mini/golden.json")
    assert set(ancestors(file)) == {path for path in manifest.files if path.startswith("mini/source/")}
    assert "sentence-transformers" in file["pedigree"]["notes"]


def test_without_source_files_the_ancestor_is_the_origin(place: Path) -> None:
    manifest = compiled_bundle(place / "other", with_source=False)
    (origin,) = file_of(materials(manifest), "mini/onnx-fp32/model.onnx")["pedigree"]["ancestors"]
    assert (origin["name"], origin["version"]) == ("tests/mini", COMMIT)
    assert origin["purl"] == f"pkg:huggingface/tests/mini@{COMMIT}"


def test_a_file_that_was_changed_or_added_has_the_reasons(manifest: Manifest) -> None:
    before = (configured("config.json"), configured("modules.json", origin=None), configured("left_out.json"))
    document = materials(changed(manifest, configured=before))
    file = file_of(document, "mini/source/config.json")
    assert ancestors(file) == {"config.json": ORIGINAL.hex}
    assert file["pedigree"]["notes"] == "changed by the builder: pooling: cls; another"
    assert file_of(document, "mini/source/modules.json")["pedigree"] == {
        "notes": "added by the builder: pooling: cls; another"
    }
    assert properties(component(document, "mini"))["configured:left_out.json"] == "pooling: cls; another"


def test_weights_from_pickles_name_the_pickles(manifest: Manifest) -> None:
    made = {"model.safetensors": "0" * 64, "pytorch_model.bin": PICKLE}
    file = file_of(materials(changed(manifest, converted={"model.safetensors": made})), "mini/source/model.safetensors")
    assert ancestors(file) == {"pytorch_model.bin": PICKLE}
    assert "converted from pickles" in file["pedigree"]["notes"]
