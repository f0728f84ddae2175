"""USearch: an index in a file that is mapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.recipes.running import assert_ours

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    import numpy as np

    columns = names["columns"]
    assert_ours(np.stack(names["again"].get(np.arange(len(columns)))), columns)
    assert names["best"] == "order total: price of the order in euros"


def test_the_recipe(runner: Runner) -> None:
    runner.follow("usearch", check)
