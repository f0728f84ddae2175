"""The example service in this process, on a real port, around a model of the test's own."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import make_writable, put_backend

# Where the service's Dockerfiles take the package from; it is no distribution that could be installed.
sys.path.insert(0, str(Path(__file__).parents[2] / "docker/example-service"))

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service.serving import Service
    from thoth_models.types import Backend
    from thoth_models.verification.verify import VerifiedVariant


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The bundle of the service."""
    from tests.service.serving import make_models

    root = tmp_path_factory.mktemp("service") / "bundle"
    make_models(root)
    yield root
    make_writable(root)


@pytest.fixture
def serve(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Service]]:
    """Start a service with a way to load its model and with settings; it is stopped at the end of the test."""
    from tests.service.serving import Service

    def start(load: Callable[[VerifiedVariant], Backend], **settings: Any) -> Service:
        put_backend(monkeypatch, load)
        return stack.enter_context(Service(models, **settings))

    with ExitStack() as stack:
        yield start
