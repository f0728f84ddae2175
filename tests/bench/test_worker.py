from __future__ import annotations

import threading

import pytest

from bench.worker import encode_in_threads, obey, peak_while, product_rate, read_memory


class Recorder:
    """Takes the place of an encode method."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.threads: set[int] = set()

    def __call__(self, texts: list[str]) -> None:
        self.calls.append(texts)
        self.threads.add(threading.get_ident())


TEXTS = [f"text {number}" for number in range(21)]


def test_one_caller_encodes_all_texts_in_one_call() -> None:
    encode = Recorder()
    assert encode_in_threads(encode, TEXTS, 1, 1) >= 0
    assert encode.calls == [TEXTS]
    assert encode.threads == {threading.get_ident()}


def test_one_caller_makes_the_calls_of_eight_one_by_one() -> None:
    alone, together = Recorder(), Recorder()
    encode_in_threads(alone, TEXTS, 1, 8)
    encode_in_threads(together, TEXTS, 8, 8)
    assert alone.threads == {threading.get_ident()}
    assert alone.calls == sorted(together.calls)


def test_eight_threads_encode_every_text_once() -> None:
    encode = Recorder()
    encode_in_threads(encode, TEXTS, 8, 8)
    assert len(encode.calls) == 8
    assert sorted(text for call in encode.calls for text in call) == sorted(TEXTS)
    assert threading.get_ident() not in encode.threads


def test_threads_share_calls_of_one_text_each() -> None:
    encode = Recorder()
    encode_in_threads(encode, TEXTS, 5, len(TEXTS))
    assert sorted(encode.calls) == [[text] for text in sorted(TEXTS)]
    assert len(encode.threads) > 1


def test_an_error_in_a_thread_is_raised() -> None:
    def encode(texts: list[str]) -> None:
        if TEXTS[3] in texts:
            raise RuntimeError("already borrowed")

    with pytest.raises(RuntimeError, match="already borrowed"):
        encode_in_threads(encode, TEXTS, 8, 8)


def test_memory_is_read_in_bytes() -> None:
    memory = read_memory()
    assert 1_000_000 < memory["pss"] <= memory["rss"] < 100_000_000_000


def test_the_peak_is_that_of_the_work_alone() -> None:
    data = bytearray(b"x") * 50_000_000
    del data  # what was there before does not count
    small = peak_while(lambda: None)
    large = peak_while(lambda: len(bytearray(b"x") * 60_000_000))
    assert small["peak"] - small["before"] < 20_000_000
    assert 50_000_000 < large["peak"] - large["before"] < 90_000_000
    assert large["seconds"] > 0


@pytest.mark.torch
def test_the_rate_of_plain_products_is_that_of_a_processor() -> None:
    assert 1e8 < product_rate() < 1e14


def test_commands_without_texts_need_no_file() -> None:
    assert obey({"do": "memory"}, Recorder())["memory"]["rss"] > 0
