"""Ray: actors and tasks that embed."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from tests.recipes.running import assert_ours

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    from ray import cloudpickle

    from thoth_models import EmbeddingManager, load_embedding

    rows = names["rows"]
    assert sorted(row["text"] for row in rows) == sorted(names["texts"])
    assert_ours([row["vector"] for row in rows], [row["text"] for row in rows])
    assert_ours(names["vectors"], names["texts"])
    # The vectors come from elsewhere: this process has not loaded the model.
    assert "mini" not in EmbeddingManager.get_instance().stats().models
    embedding = cloudpickle.loads(cloudpickle.dumps(load_embedding("mini")))
    assert_ours(embedding.encode(names["texts"]), names["texts"])


def test_the_recipe(runner: Runner) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # Ray's Unix sockets need a short path
        environment = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": short}
        clouds = {"169.254.169.254", "metadata.google.internal"}
        assert runner.follow("ray", check, environment=environment, tolerated=clouds).watched >= 3
