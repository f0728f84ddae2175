"""What a verification finds, with a bound on the time that it may take."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from thoth_models.errors import VerificationError
from thoth_models.verification.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from thoth_models.errors import Problem


def bounded(work: Callable[[], Any]) -> Any:
    """Run ``work`` and fail where it waits: opening a FIFO the plain way would wait forever."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the test's own thread
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert results, "still waiting"
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


def problems_of(root: Path, *, strict: bool = False) -> list[tuple[str, str]]:
    with pytest.raises(VerificationError) as caught:
        bounded(lambda: verify(root, strict=strict))
    assert caught.value.root == str(root)
    for problem in caught.value.problems:
        assert str(problem) in str(caught.value)
        assert problem.expected
        assert problem.found
    return [(problem.kind, problem.path) for problem in caught.value.problems]


def the_problem(root: Path) -> Problem:
    with pytest.raises(VerificationError) as caught:
        bounded(lambda: verify(root))
    [problem] = caught.value.problems
    return problem
