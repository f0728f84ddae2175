from __future__ import annotations

import pytest

from bench.texts import Sizes, long_text, make_texts

SIZES = Sizes(short=200, long=20, mixed=240)


@pytest.fixture(scope="module")
def texts() -> dict[str, list[str]]:
    return make_texts(SIZES)


def words(texts: list[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def test_the_same_texts_come_out_every_time(texts: dict[str, list[str]]) -> None:
    assert make_texts(SIZES) == texts


def test_there_are_as_many_as_were_asked_for(texts: dict[str, list[str]]) -> None:
    assert {kind: len(found) for kind, found in texts.items()} == {"short": 200, "long": 20, "mixed": 240}


def test_short_texts_are_short_and_long_ones_are_beyond_every_maximum(texts: dict[str, list[str]]) -> None:
    assert 3 <= min(words(texts["short"])) <= max(words(texts["short"])) <= 12
    assert 250 <= min(words(texts["long"])) <= max(words(texts["long"])) <= 400


def test_mixed_texts_have_every_length_and_other_scripts(texts: dict[str, list[str]]) -> None:
    lengths = words(texts["mixed"])
    assert sum(length >= 250 for length in lengths) == 20
    assert sum(30 <= length <= 80 for length in lengths) == 60
    assert sum(length <= 15 for length in lengths) == 160
    joined = "".join(texts["mixed"])
    assert all(letter in joined for letter in ("в", "ש", "日", "ñ"))


def test_texts_differ_from_each_other(texts: dict[str, list[str]]) -> None:
    assert len(set(texts["short"])) == len(texts["short"])


@pytest.mark.parametrize("tokens_of_a_word", [1, 5])
def test_the_long_text_has_no_more_tokens_than_were_asked_for(tokens_of_a_word: int) -> None:
    def count(text: str) -> int:
        return 2 + tokens_of_a_word * len(text.split())

    assert 512 - tokens_of_a_word < count(long_text(512, count)) <= 512
