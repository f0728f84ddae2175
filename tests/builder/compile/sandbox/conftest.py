"""A place where code runs in the sandbox, as root and as a user without privileges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.confined_code import USERS, Workplace, workplace_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=USERS)
def place(request: pytest.FixtureRequest) -> Iterator[Workplace]:
    with workplace_of(request.param) as made:
        if made is None:
            pytest.skip(f"this machine cannot run code as {request.param}")
        yield made
