"""The tool that looks at the branches of each package."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tools.branch_coverage import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def report(place: Path, shares: dict[str, tuple[int, int]]) -> str:
    files = {
        path: {"summary": {"covered_branches": taken, "num_branches": there}} for path, (taken, there) in shares.items()
    }
    file = place / "coverage.json"
    file.write_text(json.dumps({"files": files}), encoding="utf-8")
    return str(file)


def test_each_package_is_looked_at_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = {
        "site/thoth_models/a.py": (99, 100),
        "b/thoth_models_builder/b.py": (3, 4),
        "b/thoth_models_builder/c.py": (1, 1),
    }
    file = report(tmp_path, whole)
    assert main(file, "80") == 0
    assert capsys.readouterr().out == (
        "thoth_models: 99 of 100 branches, 99.0 % (at least 80 %)\n"
        "thoth_models_builder: 4 of 5 branches, 80.0 % (at least 80 %)\n"
    )
    assert main(file, "80.1") == 1, "together they would reach it"


def test_what_was_not_measured_is_not_enough(tmp_path: Path) -> None:
    assert main(report(tmp_path, {"thoth_models/a.py": (1, 1)}), "50") == 1
