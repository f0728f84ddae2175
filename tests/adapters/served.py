"""What every adapter of a framework is asked, in the framework's own words."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.adapters import worlds
from tests.adapters.worlds import WordBackend, identity
from thoth_models import BackendUnavailableError, EmbeddingManager

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.adapters.worlds import Backends
    from thoth_models import ManagerConfig

SECONDS = 30.0
PROMPTS = {"query": "query: ", "document": "passage: "}


def expected(text: str, kind: str = "query") -> list[float]:
    """The vector that the model ``mini`` gives for a text."""
    vector = WordBackend(identity("mini")).vector(PROMPTS[kind] + text)
    length = float(np.linalg.norm(vector))
    return [float(value) / length for value in vector]


def assert_close(found: Any, wanted: list[list[float]]) -> None:
    assert isinstance(found, list)
    assert all(isinstance(vector, list) and all(type(value) is float for value in vector) for vector in found)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def assert_the_loop_goes_on(
    config: ManagerConfig, backends: Backends, monkeypatch: pytest.MonkeyPatch, call: Callable[[], Awaitable[Any]]
) -> None:
    """While a call is being answered, the loop of its caller does other things."""
    released = threading.Event()
    encode = worlds.WordBackend.encode

    def held(backend: worlds.WordBackend, texts: list[str], **options: Any) -> Any:
        assert released.wait(SECONDS)
        return encode(backend, texts, **options)

    EmbeddingManager.get_instance(config).preload_models(["mini"])
    monkeypatch.setattr(worlds.WordBackend, "encode", held)

    async def work() -> None:
        task = asyncio.ensure_future(call())
        for _ in range(40):
            await asyncio.sleep(0.005)
        assert not task.done()
        released.set()
        await task

    asyncio.run(work())


def assert_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, adapter: str, framework: str, extra: str) -> None:
    """Without the framework, importing its adapter says what to install."""
    for name in list(sys.modules):
        if name.partition(".")[0] == framework:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, framework, None)
    monkeypatch.delitem(sys.modules, f"thoth_models.adapters.{adapter}", raising=False)
    with pytest.raises(BackendUnavailableError, match=rf"is not installed: install thoth-models\[{extra}\]$"):
        __import__(f"thoth_models.adapters.{adapter}")
    monkeypatch.undo()
