"""Fixtures of more than one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bundles import invented_model, make_bundle, make_writable
from tests.runtime.invented import Backends
from thoth_models import loads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> Backends:
    backends = Backends()
    monkeypatch.setattr(loads, "load_backend", backends)
    monkeypatch.setattr(loads, "import_libraries", lambda name: None)
    return backends


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "bundle"
    models = [
        invented_model("one", variants=("torch-fp32", "onnx-fp32"), aliases=("uno",)),
        invented_model("two"),
        invented_model("three"),
        invented_model("gone", variants=(), alternates=(("two", "accept"),)),
        invented_model("strict", variants=(), alternates=(("two", "refuse"),)),
    ]
    make_bundle(root, models, default="one")
    yield root
    make_writable(root)
