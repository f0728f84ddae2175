"""Bounds that all transfers share: on attempts, on pauses between them, and on how slow a transfer may be. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryLimits:
    """Bounds on attempts and pauses. All times are in seconds.

    Attributes:
        attempts: Number of consecutive failures after which no further attempt is made.
        backoff: Pause before the second attempt; doubled each time, with jitter.
        max_backoff: Longest pause between two attempts, even if the server asks for more.
        stall_window: Time span over which the rate of a transfer is measured.
        stall_bytes: A transfer of fewer bytes than these in a window has stalled.
    """

    attempts: int = 4
    backoff: float = 0.5
    max_backoff: float = 20.0
    stall_window: float = 30.0
    stall_bytes: int = 64 * 1024

    def pause(self, failures: int, asked: float | None = None) -> float:
        """Return the seconds to wait after so many consecutive failures, given that the server asked for ``asked``."""
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients out, protects nothing
        backoff = self.backoff * 2 ** min(max(failures - 1, 0), 32) * jitter
        return float(min(max(backoff, asked or 0.0), self.max_backoff))
