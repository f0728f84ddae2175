"""Polars and pandas: vectors as a column, with their space in the Parquet file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.recipes.running import assert_ours

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    import numpy as np
    import pandas as pd

    texts = names["again"]["text"].to_list()
    assert_ours(names["again"]["vector"].to_numpy(), texts)
    assert names["best"] == "price of the order in euros"
    frame = pd.DataFrame({"text": texts})
    frame["vector"] = list(names["manager"].encode_document(frame["text"].to_list(), "mini"))
    assert_ours(np.stack(frame["vector"]), texts)


def test_the_recipe(runner: Runner) -> None:
    runner.follow("polars", check)
