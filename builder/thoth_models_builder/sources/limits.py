"""How long the builder waits for a source, and how often it tries: every wait has an end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds on every wait. All times are in seconds.

    Attributes:
        connect: Until a connection stands, per attempt.
        read: Of silence, in the middle of an answer or before it.
        stall_window: Over which the rate of a transfer is looked at.
        stall_bytes: Fewer bytes than these in a window count as a stall.
        attempts: Tries that bring nothing new, per file; one that brought some bytes does not count.
        backoff: Before the second attempt; doubled each time, with jitter.
        backoff_most: Between two attempts at the most, also where the server asks for more.
        file_deadline: For one file altogether, whatever its size.
        file_rate: Bytes per second that a large file is given time for beyond that.
        wheel_deadline: For the download of one wheel altogether.
        concurrency: Files that are transferred at once.
    """

    connect: float = 10.0
    read: float = 30.0
    stall_window: float = 30.0
    stall_bytes: int = 64 * 1024
    attempts: int = 4
    backoff: float = 0.5
    backoff_most: float = 20.0
    file_deadline: float = 300.0
    file_rate: int = 256 * 1024
    wheel_deadline: float = 900.0
    concurrency: int = 4

    def deadline(self, size: int | None) -> float:
        """Return the seconds that a file of ``size`` bytes may take altogether."""
        return self.file_deadline + (size or 0) / self.file_rate
