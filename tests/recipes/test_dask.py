"""Dask: the manager on the workers of a local cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.recipes.running import assert_ours

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    assert_ours(names["vectors"], [text for batch in names["batches"] for text in batch])
    # The vectors come from elsewhere: this process has not loaded the model.
    assert "mini" not in names["manager"].stats().models


def test_the_recipe(runner: Runner) -> None:
    assert runner.follow("dask", check).watched >= 3  # its own process and two workers
