"""SQLite: vectors in a virtual table of sqlite-vec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.recipes.running import assert_ours, expected

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    import numpy as np

    rows = names["database"].execute("SELECT text, vector FROM columns").fetchall()
    assert_ours([np.frombuffer(vector, dtype=np.float32) for _, vector in rows], [text for text, _ in rows])
    assert names["best"] == "order total: price of the order in euros"
    question, column = expected(["what does it cost?", names["best"]])
    assert abs(names["distance"] - float(np.linalg.norm(question - column))) < 1e-4


def test_the_recipe(runner: Runner) -> None:
    runner.follow("sqlite-vec", check)
    runner.follow("sqlite-vec", check)  # a second run works as well
