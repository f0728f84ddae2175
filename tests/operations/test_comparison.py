from __future__ import annotations

import itertools
import math
import random
import time
from typing import TYPE_CHECKING

import pytest

from gates.comparison import BLOCK, ERROR, LOOKS, compare, interval, timed_blocks
from gates.request import Request
from gates.verdict import BEYOND, UNMEASURED, WITHIN, UnmeasuredError
from tests.operations.gating import RIGHT, Recording, figures, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 0.2


def blocks(slower: float, *, noise: float, seed: int = 1, tail: float = 1.0) -> Iterator[tuple[float, float]]:
    """Yield blocks of invented times; every tenth request of the new release takes ``tail`` x as long."""
    chance = random.Random(seed)  # noqa: S311 - noise, no secret
    while True:
        old = sum(chance.lognormvariate(0, noise) for _ in range(BLOCK))
        new = [slower * chance.lognormvariate(0, noise) for _ in range(BLOCK)]
        yield old, sum(new[1:]) + tail * new[0]


@pytest.mark.parametrize("noise", [0.01, 0.1, 0.3])
@pytest.mark.parametrize(("slower", "code"), [(0.5, WITHIN), (1.0, WITHIN), (1.1, WITHIN), (1.3, BEYOND), (3, BEYOND)])
def test_thirty_percent_are_too_much_and_ten_are_not(slower: float, noise: float, code: int) -> None:
    assert compare(blocks(slower, noise=noise), LIMIT).code == code


def test_one_slow_request_in_ten_counts() -> None:
    """The median of all requests would be the same."""
    verdict = compare(blocks(1.0, noise=0.05, tail=10), LIMIT)
    assert verdict.code == BEYOND
    assert verdict.figures["ratio"] == pytest.approx(1.9, abs=0.1)


def test_a_clear_case_takes_few_requests_and_a_close_one_many() -> None:
    assert compare(blocks(3.0, noise=0.1), LIMIT).figures["requests_each"] == LOOKS[0] * BLOCK
    close = compare(blocks(1.2, noise=0.3), LIMIT)
    assert close.code == UNMEASURED
    assert close.figures["requests_each"] == LOOKS[-1] * BLOCK
    assert close.reason.startswith("not certain after 800 requests each: 1.")


def test_a_release_at_the_limit_is_rarely_called_slow() -> None:
    """Noise alone: the share of wrong alarms is bounded, whatever the noise is."""
    runs = 200
    wrong = sum(compare(blocks(1.0, noise=1.0, seed=seed), 0.0).code == BEYOND for seed in range(runs))
    assert wrong <= runs * 2 * len(LOOKS) * ERROR


@pytest.mark.parametrize("count", LOOKS)
def test_the_interval_is_as_wide_as_the_binomial_says(count: int) -> None:
    low, high = interval([float(number) for number in reversed(range(count))])
    assert high == count - 1 - low
    chance = [sum(math.comb(count, below) for below in range(int(rank) + 1)) / 2**count for rank in (low, low + 1)]
    assert chance[0] <= ERROR < chance[1]


def test_too_few_blocks_are_no_measurement() -> None:
    with pytest.raises(UnmeasuredError, match=r"^expected 10 blocks of requests in the time there was, found 9$"):
        compare(itertools.islice(blocks(1.0, noise=0.1), 9), LIMIT)


def test_requests_go_to_both_sides_in_turn_and_the_first_block_is_not_counted() -> None:
    order: list[str] = []
    with serving(Recording(order, "old")) as old, serving(Recording(order, "new")) as new:
        found = list(itertools.islice(timed_blocks(Request(old), Request(new), 60), 1))
    assert len(found) == 1
    assert order == ["new", "old", "old", "new"] * BLOCK


def test_a_slow_server_is_seen_and_its_equal_is_not() -> None:
    def slow(number: int, body: bytes) -> tuple[int, bytes]:
        time.sleep(0.02)
        return RIGHT

    # Far from both limits, since these are real times.
    with serving(lambda number, body: RIGHT) as quick, serving(slow) as slower:
        assert figures("compare", quick, slower, "--max-slower", "50%")[0] == BEYOND
        assert figures("compare", quick, quick, "--max-slower", "200%")[0] == WITHIN


def test_a_failure_is_no_measurement() -> None:
    with serving(lambda number, body: RIGHT) as old, serving(lambda number, body: (503, b"")) as new:
        code, printed = figures("compare", old, new)
    assert code == UNMEASURED
    assert printed["verdict"] == f"{new}: expected a right answer, found status 503"


def test_the_time_to_measure_ends() -> None:
    def slow(number: int, body: bytes) -> tuple[int, bytes]:
        time.sleep(0.1)
        return RIGHT

    with serving(slow) as url:
        code, printed = figures("compare", url, url, "--within", "0.5s")
    assert (code, printed["verdict"]) == (
        UNMEASURED,
        "expected 10 blocks of requests in the time there was, found 0",
    )
