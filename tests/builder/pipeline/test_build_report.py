from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import golden_of, invented_model, make_bundle, make_writable, measure, proved
from thoth_models.bundle.accuracy import Accuracy
from thoth_models.bundle.digest import Digest
from thoth_models.verification.verify import VerificationReport, verify
from thoth_models_builder.bundle.derivation import Derived
from thoth_models_builder.pipeline.build_report import figures_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MEASURED = Accuracy(minimum_cosine=0.5, mean_cosine=0.5, largest_difference=0.5, neighbour_agreement=0.5)


@pytest.fixture
def previous(tmp_path: Path) -> Iterator[VerificationReport]:
    models = [proved(invented_model("mini"), golden_of(["one"])), invented_model("other")]
    manifest = make_bundle(tmp_path / "bundle", models, default="mini")
    measure(tmp_path / "bundle", manifest, minimum_cosine=0.75)
    yield verify(tmp_path / "bundle")
    make_writable(tmp_path)


class Part:
    """What a build has gathered of a model, as far as it matters here."""

    def __init__(self, derived: Derived | None) -> None:
        self.inputs = self
        self.derived = derived


def derived(accuracy: Mapping[str, Accuracy]) -> Derived:
    return Derived(
        files={},
        golden="golden.json",
        variants=("torch-fp32",),
        omitted={},
        derivation=Digest.of(b"key"),
        toolchain={},
        accuracy=accuracy,
    )


def figures(previous: VerificationReport | None, **parts: Any) -> Mapping[str, Mapping[str, Accuracy]]:
    return figures_of(parts, previous)


def test_what_was_measured_in_this_build_or_an_earlier_one_comes_first(previous: VerificationReport) -> None:
    found = figures(previous, mini=Part(derived({"torch-fp32": MEASURED})))
    assert found == {"mini": {"torch-fp32": MEASURED}}


def test_else_it_is_what_the_report_of_the_bundle_before_says(previous: VerificationReport) -> None:
    found = figures(previous, mini=Part(derived({})), new=Part(derived({})))
    assert found["mini"]["torch-fp32"].minimum_cosine == 0.75
    assert found["new"] == {}


def test_the_report_of_another_bundle_says_nothing(previous: VerificationReport) -> None:
    measure(previous.root, previous.manifest, bundle_digest=Digest.of(b"other"))
    assert figures(previous, mini=Part(derived({}))) == {"mini": {}}
    assert figures(replace(previous, bundle_digest=Digest.of(b"b")), mini=Part(derived({}))) == {"mini": {}}


def test_models_that_are_absent_or_not_measured_have_no_figures(previous: VerificationReport) -> None:
    assert figures(previous, mini=None, other=Part(None)) == {}
    assert figures(None, mini=Part(derived({}))) == {"mini": {}}
