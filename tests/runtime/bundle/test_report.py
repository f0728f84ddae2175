from __future__ import annotations

import pytest

from thoth_models.bundle.accuracy import Accuracy
from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.report import Report

ACCURACY = Accuracy(minimum_cosine=0.5, mean_cosine=0.6, largest_difference=0.1, neighbour_agreement=0.7)
REPORT = Report(bundle_digest=Digest.of(b"bundle"), models={"mini": {"onnx-fp32": ACCURACY}, "other": {}})


def test_a_report_survives_its_bytes() -> None:
    assert Report.from_bytes(REPORT.to_bytes()) == REPORT


def test_a_report_of_a_release_without_cosines_is_read() -> None:
    assert Report.from_bytes(REPORT.to_bytes().replace(b'"version":2', b'"version":1')) == REPORT


def test_what_was_not_measured_is_none() -> None:
    assert REPORT.of("mini", "onnx-fp32") == ACCURACY
    assert REPORT.of("mini", "onnx-int8") is None
    assert REPORT.of("unknown", "onnx-fp32") is None


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected JSON in UTF-8"),
        (b"[]", "the document: expected an object, found a list"),
        (REPORT.to_bytes().replace(b'"version":2', b'"version":3'), "version: expected 2 or 1, found 3"),
        (
            REPORT.to_bytes().replace(b"0.50000", b"0.5"),
            'models["mini"]["onnx-fp32"].minimum_cosine: expected a',
        ),
        (REPORT.to_bytes().replace(REPORT.bundle_digest.hex.encode(), b"abc"), "bundle_digest: expected a sha256"),
    ],
)
def test_a_malformed_report_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        Report.from_bytes(data)
    assert message in str(caught.value)
