"""txtai: an index with external vectors, and the model that txtai would ask for without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.recipes.running import assert_ours, no_check

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    from txtai import Embeddings

    columns, transform = names["columns"], names["transform"]
    assert [row["id"] for row in names["found"]] == ["orders.total"]
    texts = ["where does she live?", "what does it cost?"]
    assert_ours(columns.batchtransform(texts), texts)
    columns.save("saved")
    again = Embeddings().load("saved", config={"transform": transform})
    assert [row["id"] for row in again.search("what does it cost?", limit=1)] == ["orders.total"]


def test_the_recipe(runner: Runner) -> None:
    runner.follow("txtai", check)


def test_without_the_method_the_hub_is_asked(runner: Runner) -> None:
    code = "from txtai import Embeddings\nEmbeddings(content=True).index(['a'])\n"
    assert "huggingface.co" in " ".join(runner.run(code, no_check, seconds_after_attempt=0.5).attempts)
