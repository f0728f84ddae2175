from __future__ import annotations

import os

import pytest

from thoth_models.environment import THREADS_VARIABLE, threads, usable_cores
from thoth_models.errors import EnvironmentFault


def test_the_cores_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_cores() >= 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert usable_cores() == 3


@pytest.mark.parametrize(("count", "cores"), [(6, 6), (None, 1)])
def test_systems_that_do_not_tell(monkeypatch: pytest.MonkeyPatch, count: int | None, cores: int) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert usable_cores() == cores


@pytest.mark.parametrize("text", [None, "", "  "])
def test_there_are_as_many_threads_as_cores_unless_something_else_is_said(
    monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)
    if text is not None:
        monkeypatch.setenv(THREADS_VARIABLE, text)
    monkeypatch.setattr("thoth_models.environment.usable_cores", lambda: 7)
    assert threads() == 7


@pytest.mark.parametrize(("text", "count"), [("1", 1), (" 3 ", 3), ("1024", 1024)])
def test_the_number_of_threads_that_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, text: str, count: int
) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, text)
    assert threads() == count


@pytest.mark.parametrize("text", ["0", "-1", "1025", "two", "1.5", "1_0", "٣", "9" * 5000])
def test_what_is_no_number_of_threads(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, text)
    with pytest.raises(EnvironmentFault, match="THOTH_MODELS_THREADS: expected an integer from 1 to 1024, found "):
        threads()
