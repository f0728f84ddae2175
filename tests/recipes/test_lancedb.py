"""LanceDB: an embedding function that is stored with its table, with the space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.recipes.running import assert_ours

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    import json

    import lancedb
    from lancedb.embeddings import get_registry

    from thoth_models import SpaceMismatchError

    table = lancedb.connect("database").open_table("columns")
    rows = table.to_arrow().to_pylist()
    assert_ours([row["vector"] for row in rows], [row["text"] for row in rows])
    assert names["best"] == "price of the order in euros"
    (kept,) = json.loads(table.schema.metadata[b"embedding_functions"])
    assert (kept["name"], kept["model"]["space"]) == ("thoth", names["space"])
    assert table.search("where does she live?").limit(1).to_list()[0]["text"] == "where the customer lives"
    other = get_registry().get("thoth").create(name="mini", space="0" * 64)
    with pytest.raises(Exception, match="Maximum number of retries") as refused:
        other.compute_query_embeddings_with_retry("a")
    assert isinstance(refused.value.args[1], SpaceMismatchError)


def test_the_recipe(runner: Runner) -> None:
    runner.follow("lancedb", check)
    runner.follow("lancedb", check)  # a second run works as well
