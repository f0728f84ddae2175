"""How long a registry is waited for, and how often it is asked again: every wait has an end."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from thoth_models_builder.errors import RegistryError, RegistryUnreachableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds on every wait. All times are in seconds.

    Attributes:
        connect: Until a connection stands, per attempt.
        write: For a piece of an upload to leave; with its 256 KiB, this is also what tells a stall.
        read: Of silence, in the middle of an answer or before it.
        commit: Of silence after the last byte of a blob: a registry moves it to its place before it answers.
        stall_window: Over which the rate of a download is looked at.
        stall_bytes: Fewer bytes than these in a window count as a stall.
        attempts: Tries of one request, or of one blob.
        backoff: Before the second attempt; doubled each time, with jitter.
        backoff_most: Between two attempts at the most, also where the registry asks for more.
        total: For all together, whatever the size.
        rate: Bytes per second that large blobs are given time for beyond that.
        concurrency: Blobs that are looked at, sent or fetched at once.
    """

    connect: float = 10.0
    write: float = 30.0
    read: float = 60.0
    commit: float = 300.0
    stall_window: float = 30.0
    stall_bytes: int = 64 * 1024
    attempts: int = 4
    backoff: float = 0.5
    backoff_most: float = 20.0
    total: float = 600.0
    rate: int = 256 * 1024
    concurrency: int = 4

    def deadline(self, size: int) -> float:
        """Return the seconds that ``size`` bytes may take altogether."""
        return self.total + size / self.rate


class RetryableError(RegistryError):
    """Another attempt may do better; ``after`` is what the registry asks to wait, in seconds."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class NoAnswerError(RetryableError):
    """No connection came about, or one over which nothing came."""


class ExpiredError(RetryableError):
    """The token ended while a body was being sent; there is another one now."""


async def retried(attempt: Callable[[], Awaitable[_T]], limits: Limits) -> _T:
    """Return what an attempt returns, trying again with pauses while another one may do better.

    Raises:
        RegistryError: All attempts failed.
    """
    failures = 0
    has_expired = False
    while True:
        try:
            return await attempt()
        except RetryableError as error:
            if isinstance(error, ExpiredError) and not has_expired:
                # Not the registry's trouble: once more at once.
                has_expired = True
                continue
            failures += 1
            if failures >= limits.attempts:
                kind = RegistryUnreachableError if isinstance(error, NoAnswerError) else RegistryError
                raise kind(f"{error} (after {failures} attempts)") from None
            _log.info("%s; trying again", error)
            pause = limits.backoff * 2 ** (failures - 1) * random.uniform(0.5, 1.0)  # noqa: S311 - guards nothing
            await asyncio.sleep(min(max(pause, error.after or 0.0), limits.backoff_most))


async def together(works: Iterable[Coroutine[object, object, None]]) -> None:
    """Wait for several things; the first failure ends the others, and is raised as it is."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
