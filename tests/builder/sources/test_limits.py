"""Bounds on waiting for a source."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.downloads import QUICK
from thoth_models_builder.sources.limits import Limits


def test_a_large_file_has_more_time_than_a_small_one() -> None:
    limits = replace(QUICK, file_deadline=10, file_rate=100)
    assert [limits.deadline(size) for size in (None, 0, 1000)] == [10, 10, 20]


@pytest.mark.hostile
def test_a_size_that_the_other_side_states_does_not_make_a_deadline_of_years() -> None:
    assert Limits().deadline(2**62) == 24 * 3600
    assert Limits(file_deadline=10.0**6).deadline(2**62) == 10**6
