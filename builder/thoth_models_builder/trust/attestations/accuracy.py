"""The statement of how accurate the variants of a bundle were measured. Pure.

in-toto has a predicate for the results of tests, with names of those that passed and no figures; so this one has a type
of its own, which docs/attestations.md describes. For each variant it has the gate from the manifest, and the figures
from the report of the build.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from thoth_models.bundle.accuracy import Accuracy
from thoth_models_builder.trust.attestations.differences import Difference, differences, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from thoth_models.bundle.canonical_json import Node
    from thoth_models.bundle.manifest import BuiltModel, Manifest, Variant
    from thoth_models.bundle.report import Report

ACCURACY: Final = "https://thoth-models/attestation/accuracy/v1"
"""Type of the predicate."""


def accuracy_predicate(manifest: Manifest, report: Report | None) -> dict[str, Any]:
    """Return the predicate: the gate and the measured figures of each variant."""
    return {
        "models": {
            model.name: _model(manifest, model.name, model.built, report)
            for model in manifest.models.values()
            if model.built is not None
        }
    }


def not_measured(manifest: Manifest, report: Report | None) -> list[str]:
    """Return the variants that passed a gate, and whose figures the report does not have."""
    return [
        f"{model.name}/{variant.name}"
        for model in manifest.models.values()
        for variant in (() if model.built is None else model.built.variants)
        if variant.gate is not None and (report is None or report.of(model.name, variant.name) is None)
    ]


def _model(manifest: Manifest, name: str, built: BuiltModel, report: Report | None) -> dict[str, Any]:
    golden = None if built.record is None else built.record.golden
    return {
        "space": built.space.hex,
        "golden": None if golden is None else {"name": golden, "digest": {"sha256": manifest.files[golden].sha256.hex}},
        "variants": {variant.name: _variant(name, variant, report) for variant in built.variants},
    }


def _variant(model: str, variant: Variant, report: Report | None) -> dict[str, Any]:
    measured = None if report is None else report.of(model, variant.name)
    return {
        "gate": None if variant.gate is None else variant.gate.to_document(),
        "measured": None if measured is None else measured.to_document(),
    }


def accuracy_differences(predicate: Node, manifest: Manifest, report: Report | None) -> Iterator[Difference]:
    """Yield what of the predicate is not so: by the manifest, and by the report where there is one.

    Without a report, the figures are only compared with the gates.

    Raises:
        FormatError: The predicate has another form.
    """
    expected = accuracy_predicate(manifest, report)["models"]
    for node in predicate["models"].mapping():
        for variant in node["variants"].mapping():
            known = expected.get(node.key, {}).get("variants", {}).get(variant.key)
            if known is not None and known["measured"] is None:
                # What the report does not have is no difference, but must be a measurement that passes.
                known["measured"] = variant["measured"].value
                yield from _misses(variant["measured"], manifest, node.key, variant.key)
    yield from differences(expected, predicate["models"])


def _misses(measured: Node, manifest: Manifest, model: str, variant: str) -> Iterator[Difference]:
    built = manifest.models[model].built
    gates: Mapping[str, Any] = {} if built is None else {one.name: one.gate for one in built.variants}
    gate = gates.get(variant)
    if measured.value is None:
        if gate is not None:
            yield Difference(measured.path, "measured figures of a variant that passed a gate", shown(None))
    elif gate is not None:
        for miss in gate.misses(Accuracy.from_node(measured)):
            yield Difference(measured.path, "figures that pass the gate", miss)
