"""What the fixtures and hooks of all tests promise."""

from __future__ import annotations

import sys
import threading

import pytest


@pytest.mark.unmeasured
def test_where_coverage_is_not_measured_no_thread_is_traced() -> None:
    tracers: list[object] = [sys.gettrace()]
    thread = threading.Thread(target=lambda: tracers.append(sys.gettrace()))
    thread.start()
    thread.join()
    assert tracers == [None, None]


def test_elsewhere_it_is(pytestconfig: pytest.Config) -> None:
    is_asked_for = bool(getattr(pytestconfig.option, "cov_source", None))
    assert (sys.gettrace() is not None) == is_asked_for
