"""The code of docs/manager.md and of the README runs, over a bundle of tiny models whose backends are the real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.pages import run_page
from thoth_models import EmbeddingManager, ManagerConfig
from thoth_models.process.environment import ROOT_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.torch


def test_the_code_runs(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tiny_bundle))
    EmbeddingManager.get_instance().close()  # the one of another test, with another bundle
    names = run_page("docs/manager.md")
    dimension = names["vectors"].shape[1]
    assert names["vectors"].shape == (2, dimension)
    assert names["vector"].shape == (dimension,)
    assert names["nothing"].shape == (0, dimension)
    assert np.isclose(np.linalg.norm(names["vector"]), 1, atol=1e-5)
    assert -1 <= names["best"] <= 1
    assert names["mini"].calls >= 2
    assert "the call expects 000000000000" in capsys.readouterr().out
    names["manager"].close()
    EmbeddingManager.get_instance(names["config"]).close()
    assert EmbeddingManager.get_instance(ManagerConfig()) is not names["manager"]


def test_the_code_of_the_readme_runs(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/index.md has the same first block (tests/site/test_pages.py)."""
    monkeypatch.setenv(ROOT_VARIABLE, str(tiny_bundle))
    EmbeddingManager.get_instance().close()
    names = run_page("README.md")
    assert names["vectors"].shape[0] == 2
    assert np.allclose(np.linalg.norm(names["vectors"], axis=1), 1, atol=1e-5)
    assert len(names["embedding"].info.space) == 64
    EmbeddingManager.get_instance().close()
