"""Ray: actors and tasks that embed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.recipes.running import assert_ours

if TYPE_CHECKING:
    from tests.recipes.running import Kitchen


def check(names: dict[str, Any]) -> None:
    from thoth_models import EmbeddingManager

    rows = names["rows"]
    assert sorted(row["text"] for row in rows) == sorted(names["texts"])
    assert_ours([row["vector"] for row in rows], [row["text"] for row in rows])
    assert_ours(names["vectors"], names["texts"])
    # The vectors come from elsewhere: this process has not loaded the model.
    assert "mini" not in EmbeddingManager.get_instance().stats().models


def test_the_recipe(kitchen: Kitchen) -> None:
    environment = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": str(kitchen.place)}
    assert kitchen.follow("ray", check, environment=environment).watched >= 2
