"""The card of a model in a bill of materials: task, architecture, accuracy and limits, of what the bundle says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.support.bills import changed, component, materials
from tests.support.bundles import measure
from thoth_models.bundle.report import Report
from thoth_models_builder.trust.bill.source_facts import SourceFacts

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.bundle.manifest import Manifest

COSINE = "cosine to the reference vectors of sentence-transformers in fp32"


def card(document: dict[str, Any]) -> dict[str, Any]:
    return dict(component(document, "mini")["modelCard"])


def metrics(found: dict[str, Any], variant: str) -> dict[str, str]:
    return {
        one["type"]: one["value"]
        for one in found["quantitativeAnalysis"]["performanceMetrics"]
        if one["slice"] == variant
    }


def test_it_says_task_form_and_architecture(manifest: Manifest) -> None:
    facts = {"mini": SourceFacts(family="bert", architecture="BertModel")}
    assert card(materials(manifest, facts=facts))["modelParameters"] == {
        "task": "feature-extraction",
        "architectureFamily": "bert",
        "modelArchitecture": "BertModel",
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "vector of 8 float32, unit length"}],
    }


def test_what_is_not_known_is_not_stated(manifest: Manifest) -> None:
    parameters = card(materials(changed(manifest, normalize=False)))["modelParameters"]
    assert set(parameters) == {"task", "inputs", "outputs"}
    assert parameters["outputs"] == [{"format": "vector of 8 float32"}]


def test_measured_figures_are_stated_for_each_variant_beside_its_gate(manifest: Manifest, place: Path) -> None:
    path = measure(place / "bundle", manifest, minimum_cosine=0.9951)
    found = card(materials(manifest, Report.from_bytes(path.read_bytes())))
    for variant in ("onnx-fp32", "onnx-int8", "torch-fp32"):
        assert metrics(found, variant) == {
            f"{COSINE}, minimum": "0.99510",
            f"{COSINE}, mean": "1.00000",
            "difference of a component from the reference vectors, largest": "0.000000000",
            "share of the ten nearest texts in a corpus that are those of the reference": "1.000",
            f"{COSINE}, required minimum": "0.99000",
        }


def test_without_a_report_only_the_gates_are_stated(manifest: Manifest) -> None:
    assert metrics(card(materials(manifest)), "onnx-int8") == {f"{COSINE}, required minimum": "0.99000"}


def test_a_model_that_was_not_measured_has_no_figures(manifest: Manifest) -> None:
    model = manifest.models["mini"].built
    assert model is not None
    bare = tuple(replace(variant, gate=None) for variant in model.variants)
    assert "quantitativeAnalysis" not in card(materials(changed(manifest, variants=bare, record=None)))


def test_limits_are_those_of_the_bundle(manifest: Manifest) -> None:
    found = card(materials(changed(manifest, omitted={"onnx-int8": "nothing to quantize"})))["considerations"]
    assert found["technicalLimitations"] == [
        "Texts are truncated to 16 tokens, prompt included: what follows has no influence.",
        "Vectors are meant to be compared by cosine, and only with vectors of the same embedding space.",
        "Texts need the prompt of their role: query.",
        "The variant onnx-int8 could not be built: nothing to quantize",
    ]
    assert [text.partition(":")[0] for text in found["performanceTradeoffs"]] == ["onnx-int8"]
    unlimited = card(materials(changed(manifest, max_seq_length=None)))["considerations"]
    assert unlimited["technicalLimitations"][0] == "Texts of any number of tokens are accepted."


def test_an_absent_model_has_no_card(manifest: Manifest) -> None:
    assert "modelCard" not in component(materials(manifest), "gone")
