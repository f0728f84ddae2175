"""Every reader takes what is valid, and answers what fuzzing found with an error of its own."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from tests.fuzz.readers import READERS

FOUND = Path(__file__).parent / "found"


@pytest.mark.parametrize("name", READERS)
def test_what_fuzzing_starts_from_is_valid(name: str) -> None:
    assert READERS[name].seeds
    for seed in READERS[name].seeds:
        READERS[name].read(seed)


@pytest.mark.hostile
@pytest.mark.parametrize("name", READERS)
def test_what_fuzzing_found_is_an_error_of_the_reader(name: str) -> None:
    for path in sorted((FOUND / name).glob("*")):
        with suppress(*READERS[name].errors):
            READERS[name].read(path.read_bytes())


@pytest.mark.hostile
@pytest.mark.parametrize("name", READERS)
def test_what_is_cut_or_empty_is_an_error_of_the_reader(name: str) -> None:
    for seed in READERS[name].seeds:
        for data in (b"", seed[: len(seed) // 2], seed[:-1], seed * 2, bytes(len(seed)), b"\xff" * 100):
            with suppress(*READERS[name].errors):
                READERS[name].read(data)


def test_all_that_was_found_belongs_to_a_reader() -> None:
    assert {path.name for path in FOUND.iterdir() if path.is_dir()} <= set(READERS)
