"""`thoth-bundle report`, as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import flip_bit, make_writable
from tests.support.reported import full_bundle
from thoth_models_builder.cli.failures import BUILD_AGAIN
from thoth_models_builder.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    full_bundle(tmp_path / "bundle")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    make_writable(tmp_path)


def test_without_arguments_the_page_is_about_the_bundle_here(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report"]) == 0
    assert capsys.readouterr().out == "report.html: written; every byte verified\n"
    assert (place / "report.html").read_bytes().startswith(b"<!DOCTYPE html>")


def test_one_json_document_says_what_was_written(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full_bundle(place / "old", space="two")
    assert main(["report", "bundle", "--against", "old", "--output", "page.html", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {**document, "bundle_digest": ""} == {
        "ok": True,
        "output": "page.html",
        "bytes": (place / "page.html").stat().st_size,
        "bundle_digest": "",
        "problems": [],
        "needs_reindex": True,
    }


def test_a_bundle_that_is_not_intact_has_a_page_and_an_exit_code(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip_bit(place / "bundle", "mini/source/weights.bin")
    assert main(["report"]) == 1
    printed = capsys.readouterr()
    assert printed.err == f"hint: {BUILD_AGAIN}\n"
    lines = printed.out.splitlines()
    assert lines[0] == "report.html: written; the bundle is not intact"
    assert lines[1].startswith("mini/source/weights.bin: expected sha256 ")
    assert main(["report", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert (place / "report.html").is_file()


def test_other_commands_start_without_the_library_of_the_page() -> None:
    def loaded(module: str) -> bool:
        code = f"import sys, {module}; print('jinja2' in sys.modules)"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"True\n"

    assert not loaded("thoth_models_builder.cli.main")
    assert loaded("thoth_models_builder.pipeline.page.write_page")


def test_an_output_in_the_bundle_is_bad_usage(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--output", "bundle/report.html"]) == 2
    assert "expected --output outside of the bundle" in capsys.readouterr().err
