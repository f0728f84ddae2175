"""FAISS: an index in a file, which is opened for its own space alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.recipes.running import expected

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    import faiss
    import numpy as np

    from thoth_models import EmbeddingManager, ManagerConfig, SpaceMismatchError

    index, columns = faiss.read_index("columns.faiss"), names["columns"]
    np.testing.assert_allclose(index.reconstruct_n(0, len(columns)), expected(columns), atol=1e-5)
    assert names["best"] == "order total: price of the order in euros"
    (found,) = expected(["what does it cost?"])
    np.testing.assert_allclose(names["scores"][0, 0], found @ expected(columns)[1], atol=1e-5)
    with pytest.raises(SpaceMismatchError):
        EmbeddingManager.get_instance(ManagerConfig(expect_spaces={"mini": "0" * 64})).encode("a", "mini")


def test_the_recipe(runner: Runner) -> None:
    runner.follow("faiss", check)
