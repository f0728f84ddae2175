"""The results of a build for each model."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from thoth_models.verification.report_file import read_report
from thoth_models_builder.reports.results import BuiltFileReport, BuiltModelReport
from thoth_models_builder.spec.plan import stand_ins

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thoth_models.bundle.accuracy import Accuracy
    from thoth_models.verification.verify import VerificationReport
    from thoth_models_builder.pipeline.prepare_model import Gathered
    from thoth_models_builder.spec.models_yaml import Spec
    from thoth_models_builder.spec.plan import PlannedModel


def figures_of(
    gathered: Mapping[str, Gathered | None], previous: VerificationReport | None
) -> dict[str, Mapping[str, Accuracy]]:
    """Return the measured figures of each model, from the store, or else from the report of the previous bundle."""
    earlier = None if previous is None else read_report(previous.root, previous.bundle_digest).report
    figures: dict[str, Mapping[str, Accuracy]] = {}
    for name, part in gathered.items():
        derived = None if part is None else part.inputs.derived
        if derived is None:
            continue
        figures[name] = derived.accuracy
        if previous is not None and earlier is not None and not derived.accuracy:
            # Nothing was compiled, so the report is about these files.
            figures[name] = earlier.models.get(name, {})
    return figures


def built_report(
    model: PlannedModel,
    spec: Spec,
    gathered: Mapping[str, Gathered | None],
    figures: Mapping[str, Mapping[str, Accuracy]],
) -> BuiltModelReport:
    """Return the result for one model."""
    part = gathered[model.name]
    derived = None if part is None else part.inputs.derived
    present = [name for name, other in gathered.items() if other is not None]
    return BuiltModelReport(
        name=model.name,
        is_absent=part is None,
        stand_ins=stand_ins(model.name, spec, present),
        license=model.locked.license,
        dimension=model.locked.dimension,
        space=None if part is None else part.inputs.space.hex,
        variants=tuple(model.spec.variants) if part is None else part.inputs.variants,
        gates={} if derived is None else {name: dataclasses.asdict(gate) for name, gate in derived.gates.items()},
        accuracy={name: found.summary() for name, found in figures.get(model.name, {}).items()},
        configured={} if part is None else {file.path: file.reasons for file in part.inputs.configured},
        files=()
        if part is None
        else tuple(
            BuiltFileReport(path=path, size=content.size, sha256=content.sha256.hex, source=part.origins[path])
            for path, content in sorted(part.inputs.files.items())
        ),
    )
