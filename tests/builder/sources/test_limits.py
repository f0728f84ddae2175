"""Bounds on waiting for a source."""

from __future__ import annotations

from dataclasses import replace

from tests.support.downloads import QUICK


def test_a_large_file_has_more_time_than_a_small_one() -> None:
    limits = replace(QUICK, file_deadline=10, file_rate=100)
    assert [limits.deadline(size) for size in (None, 0, 1000)] == [10, 10, 20]
