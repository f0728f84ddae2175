"""Bounds on every wait for a source, so that each one ends."""

from __future__ import annotations

from dataclasses import dataclass

from thoth_models_builder.net.limits import RetryLimits


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits(RetryLimits):
    """Bounds on every wait for a source. All times are in seconds.

    Attributes:
        connect: Until a connection is established, per attempt.
        read: Of silence, before an answer or within it.
        file_deadline: For a file, whatever its size.
        file_rate: Bytes per second; a file has as much time beyond ``file_deadline`` as its size takes at this rate.
        longest: For any file, because its size is what the other side states.
        wheel_deadline: For the download of a wheel.
        concurrency: Number of files that are transferred at once.
    """

    connect: float = 10.0
    read: float = 30.0
    file_deadline: float = 300.0
    file_rate: int = 256 * 1024
    longest: float = 24 * 3600.0
    wheel_deadline: float = 900.0
    concurrency: int = 4

    def deadline(self, size: int | None) -> float:
        """Return the seconds that a file of ``size`` bytes may take."""
        return min(self.file_deadline + (size or 0) / self.file_rate, max(self.longest, self.file_deadline))
