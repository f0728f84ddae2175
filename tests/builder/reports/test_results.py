"""Results are plain data: they can be printed as JSON, and nobody changes them on the way."""

from __future__ import annotations

import dataclasses
import inspect
import json

import pytest

from thoth_models_builder.errors import SourceAttempt
from thoth_models_builder.reports import results
from thoth_models_builder.spec.variants import Refusal

KINDS = [
    kind
    for kind in vars(results).values()
    if inspect.isclass(kind) and kind.__module__ == results.__name__ and dataclasses.is_dataclass(kind)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_result_is_frozen_and_documents_its_fields(kind: type) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    docstring = inspect.getdoc(kind) or ""
    if "Attributes:" in docstring:
        missing = [field.name for field in dataclasses.fields(kind) if f"{field.name}: " not in docstring]
        assert missing == []


def test_a_report_becomes_json_with_all_that_is_in_it() -> None:
    attempt = SourceAttempt(model="mini", source="hub:org/mini@main", path=None, reason="expected a, found b")
    model = results.LockedModelReport(
        name="mini", state="kept", refused=(Refusal(path="a.bin", reason="pickled"),), attempts=(attempt,)
    )
    report = results.LockReport(file="models.lock", is_rewritten=False, models=(model,), differences=("x",))
    document = json.loads(json.dumps(dataclasses.asdict(report)))
    assert document["models"][0]["attempts"][0]["reason"] == "expected a, found b"
    assert document["models"][0]["refused"] == [{"path": "a.bin", "reason": "pickled"}]
