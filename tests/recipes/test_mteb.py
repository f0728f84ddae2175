"""MTEB: a task in memory, evaluated with a model of the bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.recipes.running import expected

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    from mteb.models import EncoderProtocol
    from scipy.stats import spearmanr

    from thoth_models import load_embedding

    encoder = names["ThothEncoder"]("mini")
    assert isinstance(encoder, EncoderProtocol)
    rows = names["Columns"]()
    rows.load_data()
    table = rows.dataset["test"]
    cosines = (expected(table["sentence1"]) * expected(table["sentence2"])).sum(axis=1)
    assert abs(names["score"] - spearmanr(cosines, table["score"])[0]) < 1e-6
    assert names["score"] > 0.8
    assert names["results"].model_revision == load_embedding("mini").info.space


def test_the_recipe(runner: Runner) -> None:
    runner.follow("mteb", check)
