"""The loop that tries again, its pauses, and the detector of stalls."""

from __future__ import annotations

import asyncio
import errno
import time
from typing import TYPE_CHECKING

import pytest

from thoth_models.errors import EnvironmentFault
from thoth_models_builder.errors import BuildError
from thoth_models_builder.net.limits import RetryLimits
from thoth_models_builder.net.retry import (
    RepeatError,
    RetryableError,
    StallDetector,
    StallError,
    retried,
    retry_after,
    run_requests,
)

if TYPE_CHECKING:
    from collections.abc import Callable

QUICK = RetryLimits(attempts=3, backoff=0.001, max_backoff=0.002)


class FailedError(BuildError):
    pass


class UnreachableError(BuildError):
    pass


class Attempts:
    """Raises one error after another, then returns how often it was started."""

    def __init__(self, *errors: Exception, progress: int = 0) -> None:
        self._errors = list(errors)
        self._progress = progress
        self.count = 0

    async def start(self) -> int:
        self.count += 1
        if self._errors:
            raise self._errors.pop(0)
        return self.count

    def progress(self) -> int:
        return self.count * self._progress


def run(attempts: Attempts, limits: RetryLimits = QUICK) -> int:
    return asyncio.run(retried(attempts.start, limits, FailedError, UnreachableError, progress=attempts.progress))


def failures(count: int, kind: Callable[[str], RetryableError] = RetryableError) -> list[RetryableError]:
    return [kind("expected bytes, found none") for _ in range(count)]


def test_the_result_of_the_first_attempt_that_succeeds_is_returned() -> None:
    assert run(Attempts(*failures(2))) == 3


def test_attempts_have_an_end() -> None:
    attempts = Attempts(*failures(3))
    with pytest.raises(FailedError, match=r"^expected bytes, found none \(after 3 attempts\)$"):
        run(attempts)
    assert attempts.count == 3


def test_a_server_that_does_not_answer_the_last_attempt_is_unreachable() -> None:
    silence = RetryableError("silence", is_unanswered=True)
    with pytest.raises(UnreachableError, match=r"^silence \(after 3 attempts\)$"):
        run(Attempts(*failures(2), silence))
    with pytest.raises(FailedError):
        run(Attempts(silence, *failures(2)))


def test_another_error_ends_the_loop_at_once() -> None:
    attempts = Attempts(ValueError("no"))
    with pytest.raises(ValueError, match=r"^no$"):
        run(attempts)
    assert attempts.count == 1


def test_failures_are_counted_in_a_row_only_while_nothing_comes() -> None:
    assert run(Attempts(*failures(20), progress=1)) == 21


def attempts_at(*offsets: int) -> int:
    """Run attempts that fail when the transfer has come to these offsets, and return how many were made."""
    left, at = list(offsets), [0]

    async def attempt() -> int:
        if not left:
            return len(offsets) + 1
        at[0] = left.pop(0)
        raise RetryableError("broken off")

    try:
        return asyncio.run(retried(attempt, QUICK, FailedError, UnreachableError, progress=lambda: at[0]))
    except FailedError:
        return len(offsets) - len(left)


@pytest.mark.hostile
def test_a_transfer_that_starts_over_again_and_again_has_an_end() -> None:
    """A server that breaks off, and gives wrong bytes when it does not, may bring the same bytes for ever."""
    assert attempts_at(*[10, 0] * 20) == 6


def test_a_transfer_that_started_over_once_goes_on_as_long_as_bytes_come() -> None:
    offsets = [*range(10, 100, 10), *range(5, 300, 10)]
    assert attempts_at(*offsets) == len(offsets) + 1


def test_a_stalled_transfer_is_a_failure_although_bytes_came() -> None:
    with pytest.raises(FailedError, match="after 3 attempts"):
        run(Attempts(*failures(20, StallError), progress=1))


def test_a_request_to_repeat_is_no_failure_the_first_time_and_never_waits() -> None:
    slow = RetryLimits(attempts=2, backoff=60.0, max_backoff=60.0)
    started = time.monotonic()
    assert run(Attempts(*failures(2, RepeatError)), slow) == 3
    with pytest.raises(FailedError, match="after 2 attempts"):
        run(Attempts(*failures(3, RepeatError)), slow)
    assert time.monotonic() - started < 5


def test_the_loop_waits_as_long_as_the_server_asks() -> None:
    started = time.monotonic()
    run(Attempts(RetryableError("busy", after=0.1)), RetryLimits(backoff=0.001, max_backoff=5.0))
    assert 0.1 <= time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [("0", 0.0), ("120", 120.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("", None), ("-1", None), ("\u0663", None)],
)
def test_seconds_are_read_and_dates_are_not(stated: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": stated}) == seconds
    assert retry_after({}) is None


@pytest.mark.hostile
def test_too_few_bytes_in_a_window_are_a_stall() -> None:
    detector = StallDetector(RetryLimits(stall_window=0.02, stall_bytes=100), "model.onnx")
    detector.received(99)
    time.sleep(0.02)
    with pytest.raises(StallError, match=r"^model.onnx: expected at least 100 bytes in 0.02 s, found 99 in 0\.\d s$"):
        detector.received(0)


def test_each_window_is_measured_on_its_own() -> None:
    detector = StallDetector(RetryLimits(stall_window=0.02, stall_bytes=100), "model.onnx")
    time.sleep(0.02)
    detector.received(1000)
    detector.received(1)
    time.sleep(0.02)
    with pytest.raises(StallError, match="found 1 in"):
        detector.received(0)


def test_bytes_within_a_window_are_not_judged() -> None:
    detector = StallDetector(RetryLimits(stall_window=60.0), "model.onnx")
    for _ in range(100):
        detector.received(0)


def test_without_file_descriptors_there_is_no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> asyncio.AbstractEventLoop:
        raise OSError(errno.EMFILE, "Too many open files")

    async def work() -> int:
        return 1

    assert run_requests(work) == 1
    monkeypatch.setattr(asyncio.events, "new_event_loop", fail)
    with pytest.raises(
        EnvironmentFault, match="expected to make an event loop for requests, found: Too many open files"
    ):
        run_requests(work)
