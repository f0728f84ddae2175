"""The commands of docs/report.md, run one after the other, and what they print."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.bundles import make_writable
from tests.support.reported import full_bundle
from thoth_models_builder.cli.main import main

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "report.md"


def test_each_command_of_the_page_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full_bundle(tmp_path / "bundle", more=b"!")
    full_bundle(tmp_path / "bundle-in-use")
    (tmp_path / "bench").mkdir()
    shutil.copy(ROOT / "bench" / "results.json", tmp_path / "bench")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```console\n\$ thoth-bundle (.*)\n(.*\n)```", PAGE.read_text(encoding="utf-8"))
    assert len(blocks) == PAGE.read_text(encoding="utf-8").count("```console") == 3
    for command, printed in blocks:
        assert main(shlex.split(command)) == 0
        assert capsys.readouterr().out == printed
    assert {path.name for path in tmp_path.glob("*.html")} == {"report.html", "change.html"}
    make_writable(tmp_path)
