"""Fixtures of more than one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import invented_model, make_bundle, make_writable, put_backend
from tests.support.invented import Backends

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> Backends:
    backends = Backends()
    put_backend(monkeypatch, backends)
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
