"""KeyBERT: keywords, and the model that its default asks the Hub for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.recipes.running import expected, no_check

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    keywords = names["keywords"]
    assert len(keywords) == 3
    text, *words = expected([names["text"], *(word for word, _ in keywords)])
    for (word, score), vector in zip(keywords, words, strict=True):
        assert abs(score - float(text @ vector)) < 1e-3, word  # KeyBERT rounds to four digits


def test_the_recipe(runner: Runner) -> None:
    runner.follow("keybert", check)


def test_its_default_asks_the_hub(runner: Runner) -> None:
    ran = runner.run(
        "from keybert import KeyBERT\nKeyBERT().extract_keywords('a b c')\n", no_check, seconds_after_attempt=0.5
    )
    assert "huggingface.co" in " ".join(ran.attempts)
