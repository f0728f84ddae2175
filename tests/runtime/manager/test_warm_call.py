"""Where a warm call goes: through few packages, so that a reader can follow it."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import make_bundle, make_writable
from tests.support.invented import SECONDS, Backends, manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_PACKAGES = 6


@pytest.fixture
def onnx_root(tmp_path: Path) -> Iterator[Path]:
    onnx_models = pytest.importorskip("tests.support.onnx_models")
    root = tmp_path / "bundle"
    make_bundle(root, [onnx_models.plan(onnx_models.variant_files(tmp_path / "files"))], default="mini")
    yield root
    make_writable(root)


def packages_of(call: Any) -> set[str]:
    """Return the packages of thoth_models whose functions a call calls, in its own thread."""
    found: set[str] = set()

    def note(frame: Any, event: str, argument: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.partition(".")[0] == "thoth_models":
            parts = module.split(".")
            found.add(".".join(parts[:2]) if len(parts) > 2 else parts[0])

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.onnx
def test_a_warm_encode_stays_in_few_packages(onnx_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THOTH_MODELS_THREADS", "1")  # more would compute in threads that are not traced
    models = manager(onnx_root)
    models.encode(["a b", "water"])
    found = packages_of(lambda: models.encode(["a b", "water"]))
    assert {"thoth_models", "thoth_models.manager", "thoth_models.backends"} <= found, "the positive control"
    assert len(found) <= MAX_PACKAGES, found
    cold = packages_of(lambda: manager(onnx_root).encode(["a b"]))
    assert "thoth_models.loading" in cold


def test_a_model_is_loaded_beside_the_event_loop(root: Path, backends: Backends) -> None:
    models = manager(root)
    backends.hold = threading.Event()

    async def ask() -> tuple[int, tuple[int, ...]]:
        asked = asyncio.ensure_future(models.aget_model("two"))
        turns = 0
        while not backends.made:
            turns += 1
            await asyncio.sleep(0.001)
        assert backends.hold is not None
        backends.hold.set()
        embedding = await asyncio.wait_for(asked, SECONDS)
        return turns, embedding.encode(["a"]).shape

    turns, shape = asyncio.run(ask())
    assert turns > 0
    assert shape == (1, 8)
    assert models.is_loaded("two")
    # The caller dropped it; the thread that made the call drops it once it runs again.
    end = time.monotonic() + SECONDS
    while models.stats().models["two"].uses and time.monotonic() < end:
        time.sleep(0.01)
    assert models.stats().models["two"].uses == 0
