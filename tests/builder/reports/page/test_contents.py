"""What the page counts and names by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import invented_model, make_bundle, make_writable
from thoth_models_builder.reports.bundle_diff import diff
from thoth_models_builder.reports.page.contents import Comparison, Page, PageLayer, Verification
from thoth_models_builder.reports.page.models import page_models

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    make_writable(tmp_path)


def comparison(place: Path, before: str, after: str, *, more: bytes = b"") -> Comparison:
    others = [invented_model("other", aliases=("second",))]
    old = make_bundle(place / "old", [invented_model("mini", space=before), *others], default="mini")
    new = make_bundle(place / "new", [invented_model("mini", space=after, more={"x": more}), *others], default="mini")
    return Comparison(name="old", bundle_digest="0" * 64, diff=diff(old, new), gone=(), pulled=0)


def test_names_of_which_the_vectors_do_not_fit_are_named(place: Path) -> None:
    found = comparison(place, "one", "two")
    assert found.lost == ("mini", "the default")
    assert [model.name for model in found.changed_models] == ["mini"]


def test_a_model_with_other_files_of_the_same_space_differs_and_loses_nothing(place: Path) -> None:
    found = comparison(place, "one", "one", more=b"more")
    assert found.lost == ()
    assert [model.name for model in found.changed_models] == ["mini"]
    assert found.meanings[found.changed_models[0].verdict].startswith("the same space from other files")


def test_sums_are_those_of_the_layers_and_models(place: Path) -> None:
    manifest = make_bundle(place / "b", [invented_model("mini"), invented_model("gone", variants=())])
    layers = tuple(
        PageLayer(name=str(size), size=size, files=1, input_digest="0" * 64, state=None) for size in (3, 5, 4)
    )
    page = Page(
        name="b",
        default=None,
        bundle_release=None,
        bundle_digest="0" * 64,
        set_digest="0" * 64,
        verification=Verification(files=0, bytes=0, problems=(), warnings=()),
        models=page_models(manifest, None, {}),
        layers=layers,
        has_report=False,
        report_note=None,
        comparison=None,
        runs=None,
        release="1",
    )
    assert (page.bytes, page.largest, page.variants) == (12, 5, 1)
    assert [model.name for model in page.absent] == ["gone"]
