from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from thoth_models.backends.batching import Padding, batches, blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

MASKS = ("attention_mask", "pooling_mask")


def padding(side: Literal["left", "right"] = "right") -> Padding:
    return Padding(token_id=9, token_type_id=3, side=side)


def divided(texts: Sequence[str], *, most_texts: int, most_characters: int) -> list[list[int]]:
    return [list(block) for block in blocks(texts, most_texts=most_texts, most_characters=most_characters)]


def test_a_block_ends_at_its_number_of_texts() -> None:
    assert divided(["a"] * 5, most_texts=2, most_characters=100) == [[0, 1], [2, 3], [4]]


@pytest.mark.hostile
def test_a_block_ends_before_it_has_too_many_characters() -> None:
    assert divided(["aaa", "aa", "a", "aaaa"], most_texts=9, most_characters=5) == [[0, 1], [2, 3]]


def test_a_text_that_is_too_long_is_a_block_of_its_own() -> None:
    assert divided(["a", "a" * 99, "", "a"], most_texts=9, most_characters=5) == [[0], [1], [2, 3]]


def test_the_prompt_counts_for_each_text() -> None:
    found = blocks(["a", "aaa", "aaa"], most_texts=9, most_characters=8, prompt="pp")
    assert [list(block) for block in found] == [[0, 1], [2]]


def test_blocks_of_no_texts() -> None:
    assert divided([], most_texts=2, most_characters=2) == []


@pytest.mark.hostile
def test_batches_are_bounded_by_tokens_padding_included() -> None:
    lengths = [3, 10, 4, 1, 9, 2]
    found = list(batches(lengths, most_tokens=12))
    assert sorted(position for batch in found for position in batch) == list(range(6))
    assert found == [[1], [4], [2, 0, 5], [3]]
    assert all(max(lengths[position] for position in batch) * len(batch) <= 12 for batch in found)


def test_a_text_of_too_many_tokens_runs_alone() -> None:
    assert list(batches([50, 50, 1], most_tokens=12)) == [[0], [1], [2]]


def test_batches_are_bounded_by_the_number_of_texts_that_the_caller_gave() -> None:
    assert list(batches([1, 1, 1], most_tokens=100, most_texts=2)) == [[0, 1], [2]]
    assert list(batches([1, 1, 1], most_tokens=2, most_texts=3)) == [[0, 1], [2]]


def test_texts_without_tokens_are_bounded_as_if_they_had_one() -> None:
    assert list(batches([0, 0, 0], most_tokens=2)) == [[0, 1], [2]]


def test_texts_of_one_length_stay_in_order() -> None:
    assert list(batches([2, 2, 2, 2], most_tokens=100)) == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("side", "ids", "types", "mask", "pooled"),
    [
        ("right", [[5, 6, 7], [8, 9, 9]], [[0, 1, 0], [1, 3, 3]], [[1, 1, 1], [1, 0, 0]], [[0, 0, 1], [0, 0, 0]]),
        ("left", [[5, 6, 7], [9, 9, 8]], [[0, 1, 0], [3, 3, 1]], [[1, 1, 1], [0, 0, 1]], [[0, 0, 1], [0, 0, 0]]),
    ],
)
def test_the_arrays_of_a_batch(
    side: Literal["left", "right"],
    ids: list[list[int]],
    types: list[list[int]],
    mask: list[list[int]],
    pooled: list[list[int]],
) -> None:
    arrays = padding(side).arrays(
        ("attention_mask", "input_ids", "pooling_mask", "token_type_ids"),
        [[5, 6, 7], [8]],
        [[0, 1, 0], [1]],
        prompt_length=2,
    )
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "attention_mask": mask,
        "input_ids": ids,
        "pooling_mask": pooled,
        "token_type_ids": types,
    }
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.int64)}


@pytest.mark.parametrize("side", ["left", "right"])
def test_without_a_prompt_everything_is_pooled(side: Literal["left", "right"]) -> None:
    arrays = padding(side).arrays(MASKS, [[5, 6], [7]], [])
    assert arrays["pooling_mask"].tolist() == arrays["attention_mask"].tolist()


def test_only_the_inputs_that_a_model_takes_are_made() -> None:
    assert list(padding().arrays(("input_ids",), [[5]], [])) == ["input_ids"]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_without_any_token_has_one_place_that_does_not_count(side: Literal["left", "right"]) -> None:
    arrays = padding(side).arrays(("attention_mask", "input_ids"), [[], []], [])
    assert arrays["attention_mask"].tolist() == [[0], [0]]
    assert arrays["input_ids"].tolist() == [[9], [9]]
