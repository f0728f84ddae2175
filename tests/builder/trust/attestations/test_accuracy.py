from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.attesting import Attestable
from thoth_models.bundle.accuracy import Accuracy
from thoth_models.bundle.canonical_json import FormatError, parse_json
from thoth_models.bundle.digest import Digest
from thoth_models.verification.report_file import read_report
from thoth_models_builder.trust.attestations.accuracy import accuracy_differences, accuracy_predicate, not_measured

if TYPE_CHECKING:
    from thoth_models.bundle.manifest import Manifest
    from thoth_models.bundle.report import Report


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Report]:
    attestable = Attestable(tmp_path_factory.mktemp("attestable"))
    manifest = attestable.write()
    report = read_report(attestable.bundle, Digest.of(manifest.to_bytes())).report
    assert report is not None
    return manifest, report


def found(predicate: Any, manifest: Manifest, report: Report | None) -> list[tuple[str, str, str]]:
    node = parse_json(json.dumps(predicate).encode())
    return [(one.path, one.expected, one.found) for one in accuracy_differences(node, manifest, report)]


def test_the_predicate_has_gates_and_figures(made: tuple[Manifest, Report]) -> None:
    predicate = accuracy_predicate(*made)
    assert list(predicate["models"]) == ["mini", "other", "coded", "plain"]
    mini = predicate["models"]["mini"]
    assert mini["golden"]["digest"] == {"sha256": made[0].files["mini/golden.json"].sha256.hex}
    assert mini["variants"]["onnx-fp32"] == {
        "gate": {"required_cosine": "0.99000", "required_agreement": None},
        "measured": {
            "minimum_cosine": "1.00000",
            "mean_cosine": "1.00000",
            "largest_difference": "0.000000000",
            "neighbour_agreement": "1.000",
        },
    }
    assert predicate["models"]["plain"]["golden"] is None
    assert found(predicate, *made) == []
    assert found(predicate, made[0], None) == []


@pytest.mark.parametrize("has_report", [True, False])
@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("gate", {"required_cosine": "0.50000", "required_agreement": None}, '"0.99000"'),
        ("gate", None, '{"required_agreement": null, "required_cosine": "0.99000"}'),
    ],
)
def test_another_gate_is_a_difference(
    made: tuple[Manifest, Report], key: str, value: Any, expected: str, *, has_report: bool
) -> None:
    predicate = accuracy_predicate(*made)
    predicate["models"]["mini"]["variants"]["onnx-fp32"][key] = value
    ((path, said, _),) = found(predicate, made[0], made[1] if has_report else None)
    assert path.startswith("models.mini.variants.onnx-fp32.gate")
    assert said == expected


def test_other_figures_are_a_difference_to_the_report(made: tuple[Manifest, Report]) -> None:
    predicate = accuracy_predicate(*made)
    predicate["models"]["mini"]["variants"]["onnx-fp32"]["measured"]["mean_cosine"] = "0.99999"
    assert found(predicate, *made) == [
        ("models.mini.variants.onnx-fp32.measured.mean_cosine", '"1.00000"', '"0.99999"')
    ]
    # Without a report nothing contradicts them: they pass the gate.
    assert found(predicate, made[0], None) == []


@pytest.mark.parametrize("has_report", [True, False])
def test_figures_that_do_not_pass_the_gate_are_a_difference(made: tuple[Manifest, Report], *, has_report: bool) -> None:
    worse = Accuracy(minimum_cosine=0.5, mean_cosine=0.6, largest_difference=0.1, neighbour_agreement=0.5)
    predicate = accuracy_predicate(*made)
    predicate["models"]["mini"]["variants"]["onnx-fp32"]["measured"] = worse.to_document()
    said = found(predicate, made[0], made[1] if has_report else None)
    if has_report:
        assert ("models.mini.variants.onnx-fp32.measured.minimum_cosine", '"1.00000"', '"0.50000"') in said
    else:
        assert said == [
            (
                'models["mini"].variants["onnx-fp32"].measured',
                "figures that pass the gate",
                "expected a minimum cosine of 0.99, found 0.5",
            )
        ]


def test_a_variant_without_figures_is_a_difference(made: tuple[Manifest, Report]) -> None:
    predicate = accuracy_predicate(*made)
    predicate["models"]["mini"]["variants"]["onnx-fp32"]["measured"] = None
    assert found(predicate, made[0], None) == [
        ('models["mini"].variants["onnx-fp32"].measured', "measured figures of a variant that passed a gate", "null")
    ]


def test_models_and_variants_that_are_not_those_of_the_bundle(made: tuple[Manifest, Report]) -> None:
    predicate = accuracy_predicate(*made)
    predicate["models"]["more"] = predicate["models"]["mini"]
    del predicate["models"]["other"]
    del predicate["models"]["mini"]["variants"]["torch-fp32"]
    assert [path for path, _, _ in found(predicate, *made)] == ["models.mini.variants", "models.more", "models"]


def test_what_was_not_measured_is_listed(made: tuple[Manifest, Report]) -> None:
    manifest, report = made
    assert not_measured(manifest, report) == []
    assert not_measured(manifest, None) == ["mini/onnx-fp32", "mini/torch-fp32", "other/onnx-fp32", "coded/onnx-fp32"]
    some = replace(report, models={"mini": report.models["mini"]})
    assert not_measured(manifest, some) == ["other/onnx-fp32", "coded/onnx-fp32"]


@pytest.mark.parametrize("predicate", [{}, {"models": []}, {"models": {"mini": {}}}])
def test_another_document_is_refused(made: tuple[Manifest, Report], predicate: Any) -> None:
    with pytest.raises(FormatError):
        found(predicate, *made)
