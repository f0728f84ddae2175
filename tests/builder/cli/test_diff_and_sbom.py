"""`thoth-bundle diff --layers | --markdown` and `thoth-bundle sbom`, as they are typed."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import invented_model, make_bundle, make_writable
from thoth_models_builder.cli.diff_and_sbom import add_diff, add_sbom
from thoth_models_builder.cli.terminal import TerminalWatcher
from thoth_models_builder.errors import LayoutError
from thoth_models_builder.pipeline import image
from thoth_models_builder.reports.pull_request import render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    for name, size in (("before", 3000), ("after", 4000)):
        more = {"more.txt": name.encode() * size}
        models = [invented_model("mini", space="one"), invented_model("other", space="two", more=more)]
        make_bundle(tmp_path / name, models, default="mini")
        image.image(image.ImageOptions(bundle=tmp_path / name, to=[f"oci:{tmp_path / name}-image"]), TerminalWatcher())
    yield tmp_path
    make_writable(tmp_path)


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    add_diff(commands)
    add_sbom(commands)
    options = parser.parse_args([str(argument) for argument in arguments])
    return int(options.run(options))


def compared(place: Path, *more: str) -> int:
    layouts = ("--layers", place / "before-image", place / "after-image")
    return run("diff", place / "before", place / "after", *layouts, *more)


def test_layers_are_told_below_the_models(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compared(place) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("layers for linux/amd64, linux/arm64:")
    states = {line.split()[0]: line for line in lines[start + 1 :]}
    assert "kept: there already" in states["mini/torch-fp32"]
    assert "changed: other content" in states["other/torch-fp32"]
    assert lines[start - 1] == "index again: no"


def test_one_json_document_has_both(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compared(place, "--json") == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [model["verdict"] for model in document["models"]] == ["same vectors", "same space"]
    (image,) = document["layers"]
    assert {layer["name"]: layer["state"] for layer in image["layers"]} == {
        "mini/torch-fp32": "kept",
        "other/torch-fp32": "changed",
        "manifest": "changed",
    }
    assert image["pulled"] == sum(layer["size"] for layer in image["layers"] if layer["state"] == "changed")


def test_the_report_is_that_of_the_document(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compared(place, "--json")
    document = capsys.readouterr().out
    assert compared(place, "--markdown") == 0
    assert capsys.readouterr().out == render(document.encode())


def test_without_layers_nothing_is_said_of_them(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("diff", place / "before", place / "after", "--json") == 0
    assert "layers" not in json.loads(capsys.readouterr().out)
    assert run("diff", place / "before", place / "after") == 0
    assert "layers for" not in capsys.readouterr().out


@pytest.mark.parametrize("form", [(), ("--json",), ("--markdown",)])
def test_check_exits_with_1_where_an_index_must_be_made_again(
    place: Path, form: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(place / "another", [invented_model("mini", space="three")], default="mini")
    assert run("diff", place / "before", place / "another", "--check", *form) == 1
    assert capsys.readouterr().out
    assert run("diff", place / "before", place / "another", *form) == 0


def test_what_is_no_layout_is_an_error(place: Path) -> None:
    with pytest.raises(LayoutError, match="oci-layout"):
        run("diff", place / "before", place / "after", "--layers", place / "before", place / "after-image")


def test_the_two_forms_exclude_each_other(place: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        compared(place, "--json", "--markdown")
    assert caught.value.code == 2


def test_the_bill_of_materials_is_one_json_document(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sbom", place / "before") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["bomFormat"] == "CycloneDX"
    assert [model["name"] for model in document["components"]] == ["mini", "other"]
