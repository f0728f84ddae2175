"""What the fixtures and hooks of all tests promise."""

from __future__ import annotations

import sys
import threading

import pytest


@pytest.fixture
def _coverage_traces(pytestconfig: pytest.Config) -> None:
    is_measured = pytestconfig.pluginmanager.hasplugin("_cov") and not pytestconfig.getoption("no_cov")
    if not is_measured or sys.version_info >= (3, 14):  # where it need not trace
        pytest.skip("coverage does not trace here")


@pytest.mark.unmeasured
@pytest.mark.usefixtures("_coverage_traces")
def test_no_thread_is_traced_where_coverage_is_not_measured() -> None:
    tracers: list[object] = [sys.gettrace()]
    thread = threading.Thread(target=lambda: tracers.append(sys.gettrace()))
    thread.start()
    thread.join()
    assert tracers == [None, None]


@pytest.mark.usefixtures("_coverage_traces")
def test_elsewhere_it_is_measured() -> None:
    assert sys.gettrace() is not None
