"""Bounds on every wait for a registry, and running several things at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thoth_models_builder.net.limits import RetryLimits

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits(RetryLimits):
    """Bounds on every wait for a registry. All times are in seconds.

    Attributes:
        connect: Until a connection is established, per attempt.
        write: For a piece of an upload to leave; with its 256 KiB, this also bounds how slow an upload may be.
        read: Of silence, before an answer or within it.
        commit: Of silence after the last byte of a blob: a registry moves it to its place before it answers.
        total: For a whole push or pull, whatever the size.
        rate: Bytes per second; a push or pull has as much time beyond ``total`` as its size takes at this rate.
        concurrency: Number of blobs that are checked, sent or fetched at once.
    """

    connect: float = 10.0
    write: float = 30.0
    read: float = 60.0
    commit: float = 300.0
    total: float = 600.0
    rate: int = 256 * 1024
    concurrency: int = 4

    def deadline(self, size: int) -> float:
        """Return the seconds that a push or pull of ``size`` bytes may take."""
        return self.total + size / self.rate


async def together(coroutines: Iterable[Coroutine[object, object, None]]) -> None:
    """Run several coroutines at once; the first failure cancels the others and is raised unchanged."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
