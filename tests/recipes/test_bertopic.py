"""BERTopic: topics with our vectors, and the model that it asks the Hub for when it does not know ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.recipes.running import assert_ours, no_check

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    model, documents = names["topic_model"], names["documents"]
    assert names["similar"] == [names["topics"][-1]]
    assert len(names["words"]) == 10
    assert_ours(model.embedding_model.embed(documents), documents)
    words = ["price", "address"]
    assert_ours(model.embedding_model.embed_words(words), words)
    model.save("topics", serialization="safetensors", save_embedding_model=False)
    again = type(model).load("topics", embedding_model=names["ThothEmbedder"]("mini"))
    assert again.find_topics("how much does it cost?", top_n=1)[0] == names["similar"]


def test_the_recipe(runner: Runner) -> None:
    runner.follow("bertopic", check)


def test_what_it_does_not_know_makes_it_ask_the_hub(runner: Runner) -> None:
    code = runner.code_of("bertopic")
    loud = code.replace('embedding_model=ThothEmbedder("mini")', 'embedding_model=ThothEmbedder("mini").embed')
    assert loud != code
    ran = runner.run(loud, no_check, seconds_after_attempt=0.5)
    assert "huggingface.co" in " ".join(ran.attempts)
