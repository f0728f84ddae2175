"""A project between two releases, prepared once for all tests of a file."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.faults.kill_points import workshop_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.scenarios.faults.workshop import Workshop


@pytest.fixture(scope="session")
def make_workshop() -> Iterator[Callable[..., Workshop]]:
    """Return what makes a workshop with the options of :meth:`Workshop.of`."""
    if sys.platform != "linux":
        pytest.skip("only Linux asks another process about system calls")
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(workshop_of(**options))


@pytest.fixture(scope="session")
def workshop(make_workshop: Callable[..., Workshop]) -> Workshop:
    """A workshop in which nothing is compiled, so that a stage takes a moment."""
    return make_workshop(is_compiled=False)


@pytest.fixture(scope="session")
def compiling(make_workshop: Callable[..., Workshop]) -> Workshop:
    """A workshop in which a model is compiled, in a process of its own."""
    return make_workshop(is_compiled=True)


@pytest.fixture(scope="session")
def first(make_workshop: Callable[..., Workshop]) -> Workshop:
    """A workshop without a release before."""
    return make_workshop(is_compiled=False, has_previous=False)
