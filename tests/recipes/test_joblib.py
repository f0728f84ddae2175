"""joblib: the manager in loky's processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.recipes.running import assert_ours

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    assert_ours(names["vectors"], [text for batch in names["batches"] for text in batch])
    # The vectors come from elsewhere: this process has not loaded the model.
    assert "mini" not in names["manager"].stats().models
    an_embedding_travels_as_well(names["batches"])


def an_embedding_travels_as_well(batches: list[list[str]]) -> None:
    import numpy as np
    from joblib import Parallel, delayed

    from thoth_models import load_embedding

    encode = load_embedding("mini").encode
    vectors = np.concatenate(Parallel(n_jobs=2)(delayed(encode)(batch) for batch in batches))
    assert_ours(vectors, [text for batch in batches for text in batch])


def test_the_recipe(runner: Runner) -> None:
    assert runner.follow("joblib", check).watched >= 3  # its own process and two workers
