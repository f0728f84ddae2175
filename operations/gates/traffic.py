"""Requests at a constant rate, and how many of them failed."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gates.request import FAILURES, why
from gates.verdict import BEYOND, UNMEASURED, WITHIN, UnmeasuredError, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MARGIN_SECONDS = 2.0
"""Requests are sent so long before a command starts and after it ends: what it did may be felt a moment later."""
MAX_RATE = 200
"""Requests per second that a thread each can send; a load test needs another tool."""

MAX_KINDS = 10
"""Kinds of failures that are shown, the most frequent first."""


@dataclass(frozen=True)
class Sample:
    """One request: how long after it was due its answer was complete, and why it failed, if it did."""

    seconds: float
    failure: str = ""


class Traffic:
    """Sends requests at a constant rate, whether earlier ones were answered or not (an open loop).

    Each is due at its own time, and its duration counts from then. So neither a slow service nor a slow client makes
    the requests fewer or their times shorter: what a caller would have waited is what is counted.
    """

    def __init__(self, send: Callable[[int], object], rate: float, timeout: float) -> None:
        self._send, self._rate, self._timeout = send, rate, timeout
        self._stop = threading.Event()
        self._samples: dict[int, Sample] = {}
        self._due: list[float] = []
        self._refused: RuntimeError | None = None
        self._pacer = threading.Thread(target=self._pace, daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._pacer.start()

    def finish(self) -> list[Sample]:
        """Send no more, wait for the last answers as long as they may take, and return all samples.

        Raises:
            UnmeasuredError: This computer could not send all requests.
        """
        self._stop.set()
        self._pacer.join()
        if self._refused is not None:
            reason = f"expected a thread for each request, found {self._refused} after {len(self._due)} requests"
            raise UnmeasuredError(reason)
        while len(self._samples) < len(self._due) and time.monotonic() < self._due[-1] + self._timeout:
            time.sleep(0.01)
        missing = Sample(self._timeout, "TimeoutError")
        return [self._samples.get(number, missing) for number in range(len(self._due))]

    def _pace(self) -> None:
        started = time.monotonic()
        while not self._stop.wait(max(0.0, started + len(self._due) / self._rate - time.monotonic())):
            number, due = len(self._due), started + len(self._due) / self._rate
            try:
                # A thread for each request: a pool that is full would be a closed loop.
                threading.Thread(target=self._one, args=(number, due), daemon=True).start()
            except RuntimeError as error:
                self._refused = error
                return
            self._due.append(due)

    def _one(self, number: int, due: float) -> None:
        failure = ""
        try:
            self._send(number)
        except FAILURES as error:
            failure = why(error)
        seconds = time.monotonic() - due
        self._samples[number] = Sample(seconds, failure or ("TimeoutError" if seconds > self._timeout else ""))


def judge_traffic(samples: Sequence[Sample], max_failures: float) -> Verdict:
    """Return whether few enough requests failed.

    Of fewer requests than make one failure a share within the limit, one failure or none says nothing about the limit.
    """
    failures = Counter(sample.failure for sample in samples if sample.failure)
    failed, count = failures.total(), len(samples)
    seconds = sorted(sample.seconds for sample in samples if not sample.failure)
    figures: dict[str, Any] = {"requests": count, "failed": failed, "failures": dict(failures.most_common(MAX_KINDS))}
    if seconds:
        cuts = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        figures |= {f"seconds_{name}": round(seconds[math.ceil(q * len(seconds)) - 1], 4) for name, q in cuts.items()}
    if count == 0 or (failed <= 1 and 0 < max_failures * count < 1):
        least = math.ceil(1 / max_failures) if max_failures else 1
        return Verdict(UNMEASURED, f"expected at least {least} requests, found {count}", figures)
    said = f"{failed} of {count} requests failed ({failed / count:.2%}), the limit is {max_failures:.2%}"
    return Verdict(BEYOND if failed > max_failures * count else WITHIN, said, figures)
