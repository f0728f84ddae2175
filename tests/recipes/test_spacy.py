"""spaCy: a component that gives each document its vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.recipes.running import assert_ours, expected

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    import spacy

    docs = [names["question"], names["city"], names["total"]]
    texts = [doc.text for doc in docs]
    assert_ours([doc._.embedding for doc in docs], texts)
    vectors = expected(texts)
    city, total = names["scores"]
    assert abs(city - vectors[0] @ vectors[1]) < 1e-5
    assert city > total
    names["nlp"].to_disk("pipeline")
    again = spacy.load("pipeline")
    assert_ours([again("city of the customer")._.embedding], ["city of the customer"])
    assert_ours([doc._.embedding for doc in again.pipe(texts, n_process=2, batch_size=2)], texts)


def test_the_recipe(runner: Runner) -> None:
    runner.follow("spacy", check)
