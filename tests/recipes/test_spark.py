"""Spark: a column of vectors, from Spark's own Python workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.recipes.running import assert_ours

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    assert_ours(names["vectors"], [row.text for row in names["rows"]])
    assert "mini" not in names["manager"].stats().models


def test_the_recipe(runner: Runner) -> None:
    assert runner.follow("spark", check, environment={"SPARK_LOCAL_IP": "127.0.0.1"}).watched >= 2
