"""Which text of a batch an error names, and how often texts are run to find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from thoth_models import BackendError, InvalidInputError
from thoth_models.backends.failing_text import expect_tokens, run_texts

if TYPE_CHECKING:
    from collections.abc import Sequence


class Runner:
    """Runs texts, and fails where a test says."""

    def __init__(self, bad: set[int], *, together: int = 0, cause: BaseException | None = None) -> None:
        self.bad = bad
        self.together = together
        self.cause = cause
        self.runs: list[list[int]] = []

    def __call__(self, indices: Sequence[int]) -> list[int]:
        """Return the texts, or fail if one of them is bad, or if there are too many."""
        self.runs.append(list(indices))
        if self.bad & set(indices) or 0 < self.together <= len(indices):
            raise BackendError("the graph failed: out of bounds") from self.cause
        return [10 * index for index in indices]


def test_what_runs_runs_once() -> None:
    runner = Runner(set())
    assert run_texts([3, 1], runner) == [30, 10]
    assert runner.runs == [[3, 1]]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 1000])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_text_that_fails_is_named_for_at_most_two_more_batches(count: int, share: float) -> None:
    bad = round((count - 1) * share)
    runner = Runner({bad})
    with pytest.raises(BackendError, match=rf"^texts\[{bad + 5}\]: the graph failed: out of bounds$"):
        run_texts(range(count), runner, first=5)
    assert sum(map(len, runner.runs)) <= 3 * count


def test_the_first_of_several_is_named() -> None:
    with pytest.raises(BackendError, match=r"^texts\[6\]: "):
        run_texts(range(10), Runner({6, 9}))


def test_the_error_of_the_library_stays_its_cause() -> None:
    cause = IndexError("out of range")
    with pytest.raises(BackendError) as caught:
        run_texts(range(3), Runner({1}, cause=cause))
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__cause__ is cause


def test_texts_that_fail_only_together_are_not_blamed() -> None:
    with pytest.raises(BackendError, match=r"^the graph failed"):
        run_texts(range(8), Runner(set(), together=8))


def test_where_everything_fails_no_text_is_blamed() -> None:
    runner = Runner(set(range(8)))
    with pytest.raises(BackendError, match=r"^the graph failed"):
        run_texts(range(8), runner)
    assert sum(map(len, runner.runs)) <= 24


@pytest.mark.parametrize(
    "cause",
    [
        MemoryError(),
        RuntimeError("Failed to allocate memory for requested buffer of size 98304"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        type("PanicException", (BaseException,), {})("ThreadPoolBuildError"),
    ],
)
def test_an_error_about_memory_or_threads_is_of_no_text(cause: BaseException) -> None:
    runner = Runner({1}, cause=cause)
    with pytest.raises(BackendError, match=r"^the graph failed"):
        run_texts(range(4), runner)
    assert len(runner.runs) == 1


def test_errors_of_other_kinds_pass() -> None:
    def run(_: Sequence[int]) -> None:
        raise InvalidInputError("texts[1]: too long")

    with pytest.raises(InvalidInputError, match=r"^texts\[1\]: too long$"):
        run_texts(range(4), run)


def test_a_text_without_tokens_is_named() -> None:
    expect_tokens([1, 5], first=7)
    with pytest.raises(InvalidInputError, match=r"^texts\[9\]: expected at least one token, found none"):
        expect_tokens([1, 5, 0, 0], first=7)
