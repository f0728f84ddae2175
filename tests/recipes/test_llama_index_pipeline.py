"""LlamaIndex: an ingestion pipeline over processes, without network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.recipes.running import assert_ours, no_check

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    assert_ours([node.embedding for node in names["nodes"]], names["texts"])


def test_the_recipe(runner: Runner) -> None:
    assert runner.follow("llama-index-pipeline", check).watched >= 3  # its own process and two workers


def test_without_the_variable_it_asks_for_the_vocabulary_and_hangs(runner: Runner) -> None:
    code = runner.code_of("llama-index-pipeline")
    loud = "".join(line for line in code.splitlines(keepends=True) if "TIKTOKEN_CACHE_DIR" not in line)
    assert loud != code
    ran = runner.run(loud, no_check, seconds_after_attempt=8.0)
    assert ran.code is None, ran.output
    assert "openaipublic.blob.core.windows.net" in " ".join(ran.attempts)
