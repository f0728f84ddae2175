"""Bounds on waiting for a registry, and several things at once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from thoth_models_builder.errors import RegistryError
from thoth_models_builder.registry.limits import Limits, together


def test_a_large_image_has_more_time_than_a_small_one() -> None:
    limits = replace(Limits(), total=10, rate=100)
    assert [limits.deadline(size) for size in (0, 1000)] == [10, 20]


def test_the_first_failure_ends_the_others_and_is_raised_unchanged() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            # Given time to clean up: nothing is left running.
            await asyncio.sleep(0.01)
            ended.append("slow")
            raise

    async def failing() -> None:
        await asyncio.sleep(0.01)
        raise RegistryError("no")

    started = time.monotonic()
    with pytest.raises(RegistryError, match=r"^no$"):
        asyncio.run(together([slow(), failing(), slow()]))
    assert ended == ["slow", "slow"]
    assert time.monotonic() - started < 5


def test_all_of_them_are_waited_for() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0.01 * number)
        done.append(number)

    asyncio.run(together(work(number) for number in range(5)))
    assert sorted(done) == list(range(5))
