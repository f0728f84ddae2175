"""What the page says about each model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import golden_of, make_bundle, make_writable
from tests.support.reported import (
    EXACT,
    ROUNDED,
    TEXTS,
    absent_plan,
    full_bundle,
    measured_plan,
    plain_plan,
    report_on,
)
from thoth_models.bundle.digest import Digest
from thoth_models.verification.report_file import read_report
from thoth_models_builder.reports.page.models import (
    NO_COSINES,
    NO_GOLDEN,
    NO_REPORT,
    NOT_READ,
    PageAlternate,
    PageBuilt,
    PageModel,
    page_models,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models.bundle.golden import Golden
    from thoth_models.bundle.manifest import Manifest
    from thoth_models.bundle.report import Report


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "bundle"
    make_writable(tmp_path)


GOLDEN = {"mini": golden_of(TEXTS)}


def report_of(root: Path, manifest: Manifest) -> Report | None:
    return read_report(root, Digest.of(manifest.to_bytes())).report


def described(root: Path, manifest: Manifest, golden: dict[str, Golden] | None = None) -> dict[str, PageModel]:
    models = page_models(manifest, report_of(root, manifest), GOLDEN if golden is None else golden)
    return {model.name: model for model in models}


def built(model: PageModel) -> PageBuilt:
    assert model.built is not None
    return model.built


def test_files_that_are_not_as_the_origin_has_them(root: Path) -> None:
    models = described(root, full_bundle(root))
    assert built(models["mini"]).configured == (
        ("config.json", ("one", "two"), Digest.of(b"as published").hex),
        ("modules.json", ("pooling: mean",), None),
    )
    assert built(models["plain"]).configured == ()


def test_a_model_has_what_a_service_has_to_know(root: Path) -> None:
    model = described(root, full_bundle(root))["mini"]
    facts = built(model)
    assert (model.dimension, model.aliases, model.is_default) == (8, ("legacy", "mini-v1"), False)
    assert (facts.license, facts.max_tokens, facts.pooling, facts.is_unit_length) == ("apache-2.0", 16, "mean", True)
    assert facts.spdx is None  # it differs only in case
    assert facts.space == Digest.of(b"one").hex
    assert facts.prompts == (("document", "", False), ("query", "query: ", False))
    assert [variant.name for variant in facts.variants] == ["onnx-fp32", "onnx-int8", "torch-fp32"]
    assert facts.variants[1].bytes < facts.variants[0].bytes < model.bytes


def test_an_absent_model_has_the_one_that_stands_in(root: Path) -> None:
    model = described(root, full_bundle(root))["missing"]
    assert (model.built, model.is_default, model.bytes) == (None, True, 0)
    assert model.answers == "mini/onnx-fp32"
    assert model.alternates == (PageAlternate(model="mini", accepts_other_space=True, is_present=True),)


def test_an_absent_model_for_which_nothing_may_stand_in_answers_nothing(root: Path) -> None:
    plans = [measured_plan("mini"), absent_plan("missing", ("mini", "refuse"), ("gone", "accept")), absent_plan("gone")]
    model = described(root, make_bundle(root, plans))["missing"]
    assert model.answers is None
    assert [alternate.is_present for alternate in model.alternates] == [True, False]


def test_source_files_and_what_was_made_of_them_are_apart(root: Path) -> None:
    model = built(described(root, full_bundle(root))["mini"])
    assert {file.path.split("/")[1] for file in model.source_files} == {"source"}
    assert {file.path.split("/")[1] for file in model.derived_files} == {"golden.json", "onnx-fp32", "onnx-int8"}
    assert (model.origin_kind, model.origin_id) == ("hub", "tests/mini")
    assert model.toolchain == (("some-library", "1.0"),)
    assert model.cache_key == Digest.of(GOLDEN["mini"].to_bytes()).hex


def test_each_golden_text_has_the_cosine_of_each_variant(root: Path) -> None:
    measured = built(described(root, full_bundle(root))["mini"]).measured
    assert measured is not None
    assert measured.variants == ("onnx-fp32", "onnx-int8", "torch-fp32")
    assert [text.text for text in measured.texts] == list(TEXTS)
    assert [text.cosines for text in measured.texts] == list(zip(EXACT, ROUNDED, EXACT, strict=True))
    assert [text.number for text in measured.lowest] == [2, 7, 3]


def test_no_text_is_named_as_the_worst_where_all_are_the_same(root: Path) -> None:
    manifest = full_bundle(root)
    report_on(root, manifest, {"onnx-fp32": EXACT})
    measured = built(described(root, manifest)["mini"]).measured
    assert measured is not None
    assert measured.variants == ("onnx-fp32",)
    assert measured.lowest == ()


def test_why_there_is_no_plot_is_said(root: Path) -> None:
    manifest = full_bundle(root)
    models = described(root, manifest)
    assert built(models["plain"]).unmeasured == NO_GOLDEN
    assert built(described(root, manifest, {})["mini"]).unmeasured == NOT_READ
    report_on(root, manifest, {"onnx-fp32": ()})
    facts = built(described(root, manifest)["mini"])
    assert facts.unmeasured == NO_COSINES
    assert facts.variants[0].figures is not None
    (model,) = (model for model in page_models(manifest, None, GOLDEN) if model.name == "mini")
    assert built(model).unmeasured == NO_REPORT
    assert built(model).measured is None


def test_cosines_of_more_or_fewer_texts_stand_beside_no_text(root: Path) -> None:
    manifest = full_bundle(root)
    report_on(root, manifest, {"onnx-fp32": EXACT[1:], "onnx-int8": (*ROUNDED, 1.0)})
    assert built(described(root, manifest)["mini"]).unmeasured == NO_COSINES


def test_what_spdx_calls_a_licence_otherwise(root: Path) -> None:
    plan = replace(plain_plan(), license="gpl-3.0")
    facts = built(described(root, make_bundle(root, [plan]))["plain"])
    assert (facts.license, facts.spdx) == ("gpl-3.0", "GPL-3.0-only")


def test_a_model_without_limits_or_licence_has_none(root: Path) -> None:
    plan = replace(plain_plan(), default_prompt_name="query", prompts={"query": "q: "})
    facts = built(described(root, make_bundle(root, [plan]))["plain"])
    assert (facts.license, facts.max_tokens, facts.revision, facts.cache_key) == (None, None, None, None)
    assert facts.prompts == (("query", "q: ", True),)
    assert facts.derived_files == ()
