"""Pauses between attempts."""

from __future__ import annotations

from thoth_models_builder.net.limits import RetryLimits


def test_pauses_become_longer_and_have_an_upper_bound() -> None:
    limits = RetryLimits(backoff=1.0, max_backoff=20.0)
    for failed, longest in [(0, 1), (1, 1), (2, 2), (3, 4), (9, 20)]:
        assert longest / 2 <= limits.pause(failed) <= longest
    assert limits.pause(1, 7.0) == 7.0
    assert limits.pause(1, 3600.0) == 20.0
