from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import golden_of, invented_model, make_bundle, make_writable, measure, proved
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.manifest import ConfiguredFile
from thoth_models.cli.main import main
from thoth_models.verification.verify import open_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    models = [proved(invented_model("mini"), golden_of(["one"]), required_cosine=0.9), invented_model("other")]
    make_bundle(tmp_path / "bundle", models, default="mini")
    yield tmp_path / "bundle"
    make_writable(tmp_path / "bundle")


def listed(root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    assert main(["list", "--root", str(root)]) == 0
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_the_gate_is_listed_and_that_the_figures_are_not_here(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = listed(root, capsys)
    assert "torch-fp32: cosine to the reference at least 0.90000; not measured here" in out
    assert out.count("cosine") == 1
    assert err == ""


def test_what_was_measured_is_listed_where_the_report_is(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measure(root, open_bundle(root).manifest, minimum_cosine=0.98765)
    out, err = listed(root, capsys)
    assert "torch-fp32: cosine to the reference at least 0.90000; measured 0.98765" in out
    assert err == ""


def test_the_report_of_another_bundle_is_ignored_with_a_note(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = measure(root, open_bundle(root).manifest, bundle_digest=Digest.of(b"other"))
    out, err = listed(root, capsys)
    assert "not measured here" in out
    assert err.startswith(f"note: {path}: ignored: expected the report of the bundle ")


def test_the_json_has_gates_and_figures_apart(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measure(root, open_bundle(root).manifest, minimum_cosine=0.98765)
    assert main(["list", "--json", "--root", str(root)]) == 0
    document = json.loads(capsys.readouterr().out)
    mini, other = document["models"]
    assert mini["gates"] == {"torch-fp32": {"required_cosine": 0.9, "required_agreement": None}}
    assert mini["accuracy"]["torch-fp32"]["minimum_cosine"] == 0.98765
    assert other["gates"] == {"torch-fp32": None}
    assert document["report_note"] is None


def test_files_that_are_not_as_the_origin_has_them_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ConfiguredFile(path="modules.json", origin=None, reasons=("pooling: cls", "another"))
    plans = [replace(invented_model("mini"), configured=(file,)), invented_model("other")]
    make_bundle(tmp_path / "bundle", plans, default="mini")
    out, _ = listed(tmp_path / "bundle", capsys)
    assert out.count("configured") == 1
    assert "  configured  modules.json (not as the origin has them)\n" in out
    assert main(["list", "--json", "--root", str(tmp_path / "bundle")]) == 0
    mini, other = json.loads(capsys.readouterr().out)["models"]
    assert (mini["configured"], other["configured"]) == ({"modules.json": ["pooling: cls", "another"]}, {})
    make_writable(tmp_path)
