"""The example service in this process, on a real port, around a model of the test's own."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Where the service's Dockerfiles take the package from; it is no distribution that could be installed.
sys.path.insert(0, str(Path(__file__).parents[2] / "docker/example-service"))

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service.serving import Service


@pytest.fixture
def serve() -> Iterator[Callable[..., Service]]:
    """Start a service with a way to load and with settings; it is stopped at the end of the test."""
    from tests.service.serving import Service

    with ExitStack() as stack:
        yield lambda *arguments, **settings: stack.enter_context(Service(*arguments, **settings))
