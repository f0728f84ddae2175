"""Try again what may succeed next time: one loop, one backoff, ``Retry-After``, and a detector of stalled transfers.

An attempt that may succeed next time raises :class:`RetryableError`; any other exception ends the loop. Only failures
in a row count: an attempt that made progress starts the count again, unless its transfer stalled. How often a transfer
starts over, such as after wrong bytes, is counted in all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, TypeVar

from thoth_models.errors import EnvironmentFault
from thoth_models_builder.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from thoth_models_builder.net.limits import RetryLimits

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


class RetryableError(BuildError):
    """An attempt failed, and another one may succeed.

    Attributes:
        after: Seconds that the server asks to wait, or None.
        is_unanswered: Whether the server did not answer at all.
    """

    def __init__(self, message: str, *, after: float | None = None, is_unanswered: bool = False) -> None:
        """Store the requested pause, and whether the server answered."""
        super().__init__(message)
        self.after = after
        self.is_unanswered = is_unanswered


class StallError(RetryableError):
    """A transfer is too slow; the bytes that it brought do not count as progress."""


class RepeatError(RetryableError):
    """The same request has to be sent once more, without a pause; the first time does not count as a failure."""


def run_requests(work: Callable[[], Coroutine[object, object, _T]]) -> _T:
    """Run a coroutine in an event loop of its own, and return its result.

    Raises:
        EnvironmentFault: There can be no event loop, such as with the largest number of open files.
    """
    runner = asyncio.Runner()
    try:
        runner.get_loop()
    except OSError as error:
        raise EnvironmentFault(f"expected to make an event loop for requests, found: {error.strerror}") from error
    with runner:
        return runner.run(work())


async def retried(
    attempt: Callable[[], Awaitable[_T]],
    limits: RetryLimits,
    failed: type[BuildError],
    unreachable: type[BuildError],
    *,
    progress: Callable[[], int] = lambda: 0,
) -> _T:
    """Await attempts until one succeeds, and return its result.

    Args:
        attempt: Starts one attempt.
        limits: Bounds on attempts and pauses.
        failed: Error to raise after the last attempt.
        unreachable: The same, if the server did not answer the last attempt at all.
        progress: Returns how far the work is, such as the number of bytes received.
    """
    failures = restarts = 0
    was_repeated = False
    before = progress()
    while True:
        try:
            return await attempt()
        except RetryableError as error:
            if isinstance(error, RepeatError) and not was_repeated:
                was_repeated = True
                before = progress()
                _log.info("%s; sending it again", error)
                continue
            now = progress()
            failures = 0 if now > before and not isinstance(error, StallError) else failures + 1
            restarts += now < before
            before = now
            if (attempts := max(failures, restarts)) >= limits.attempts:
                kind = unreachable if error.is_unanswered else failed
                raise kind(f"{error} (after {attempts} attempts)") from error
            _log.info("%s; trying again", error)
            await asyncio.sleep(0 if isinstance(error, RepeatError) else limits.pause(failures, error.after))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an answer asks to wait, or None.

    ``Retry-After`` may also be a date; that form is rare, and the usual backoff is used then.
    """
    stated = headers.get("Retry-After", "")
    return float(stated) if stated.isascii() and stated.isdecimal() else None


class StallDetector:
    """Measures the rate of a transfer in windows of time.

    Args:
        limits: Length of a window, and the fewest bytes in one.
        what: Names the transfer in messages.
    """

    def __init__(self, limits: RetryLimits, what: str) -> None:
        self._limits = limits
        self._what = what
        self._start = time.monotonic()
        self._bytes = 0

    def received(self, count: int) -> None:
        """Count bytes as they arrive.

        Raises:
            StallError: The window that just ended had too few of them.
        """
        self._bytes += count
        elapsed = time.monotonic() - self._start
        if elapsed < self._limits.stall_window:
            return
        if self._bytes < self._limits.stall_bytes:
            raise StallError(
                f"{self._what}: expected at least {self._limits.stall_bytes} bytes in {self._limits.stall_window:g} s, "
                f"found {self._bytes} in {elapsed:.1f} s"
            )
        self._start, self._bytes = time.monotonic(), 0
