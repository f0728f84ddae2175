"""The bill of materials of a bundle on disk: with its report, and with what its verified configuration says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bills import ABOUT, SOURCE, component
from tests.support.bundles import flip_bit, invented_model, make_bundle, make_writable, measure
from thoth_models.errors import VerificationError
from thoth_models_builder.pipeline.bill.bundle_bill import sbom

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models.bundle.manifest import Manifest


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "bundle"
    make_writable(tmp_path)


@pytest.fixture
def manifest(root: Path) -> Manifest:
    return make_bundle(root, [invented_model("mini", more={**SOURCE, "LICENSE": b"You may.\n"})], default="mini")


def model(root: Path) -> dict[str, Any]:
    return component(json.loads(sbom(root)), "mini")


@pytest.mark.usefixtures("manifest")
def test_architecture_and_licence_text_come_from_the_files(root: Path) -> None:
    found = model(root)
    assert found["modelCard"]["modelParameters"]["modelArchitecture"] == json.loads(ABOUT)["architectures"][0]
    assert found["licenses"][0]["license"]["text"]["content"] == "You may.\n"


def test_figures_come_from_the_report_beside_the_bundle(root: Path, manifest: Manifest) -> None:
    assert "quantitativeAnalysis" not in model(root)["modelCard"]
    measure(root, manifest, minimum_cosine=0.9951)
    metrics = model(root)["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert "0.99510" in {metric["value"] for metric in metrics}


@pytest.mark.hostile
@pytest.mark.usefixtures("manifest")
@pytest.mark.parametrize("path", ["mini/source/config.json", "mini/source/LICENSE"])
def test_a_file_that_was_changed_is_not_quoted(root: Path, path: str) -> None:
    flip_bit(root, path)
    with pytest.raises(VerificationError, match=path):
        sbom(root)


@pytest.mark.usefixtures("manifest")
def test_weights_are_not_read(root: Path) -> None:
    flip_bit(root, "mini/source/model.safetensors")
    assert model(root)["name"] == "mini"
