"""DuckDB: vectors in a column, ranked in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.recipes.running import assert_ours

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    from thoth_models import load_embedding

    rows = names["database"].execute("SELECT text, vector FROM columns ORDER BY name").fetchall()
    assert_ours([vector for _, vector in rows], [text for text, _ in rows])
    assert names["best"] == "orders.total"
    (comment,) = names["database"].execute("SELECT comment FROM duckdb_tables()").fetchone()
    assert comment == f"space {load_embedding('mini').info.space}"


def test_the_recipe(runner: Runner) -> None:
    runner.follow("duckdb", check)
    runner.follow("duckdb", check)  # a second run works as well
