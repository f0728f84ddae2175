from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

from example_service import healthcheck
from tests.service.serving import SECONDS, Words

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.service.serving import Service
    from thoth_models.types import Backend
    from thoth_models.verification.verify import VerifiedVariant


def port_of(service: Service) -> str:
    return str(service.client.base_url.port)


def test_a_ready_service_is_healthy(serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve(Words().load)
    service.until_ready()
    monkeypatch.setenv("SERVICE_PORT", port_of(service))
    assert healthcheck.main() == 0


def test_one_that_loads_is_not_and_says_why(
    serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = threading.Event()

    def load(verified: VerifiedVariant) -> Backend:
        gate.wait(SECONDS)
        return Words().load(verified)

    monkeypatch.setenv("SERVICE_PORT", port_of(serve(load)))
    assert healthcheck.main() == 1
    assert "the model is being loaded" in capsys.readouterr().out
    gate.set()


def test_one_that_does_not_answer_is_not_within_the_bound(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(healthcheck, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("SERVICE_PORT", str(silent.getsockname()[1]))
        assert healthcheck.main() == 1
    assert "no answer: timed out" in capsys.readouterr().out
