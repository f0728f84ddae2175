"""How much memory a variant is estimated to take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import VariantPlan, invented_model, make_bundle, make_writable
from thoth_models.manager.memory import give_back, resident_bytes
from thoth_models.verification.verify import open_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models.bundle.manifest import Manifest

MEBIBYTE = 1024 * 1024


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[Manifest]:
    files = {"model.onnx": b"g" * 100, "model.onnx.data": b"w" * 1000, "tokenizer.json": b"t" * 10}
    mini = invented_model("mini")
    variants = {
        "torch-fp32": VariantPlan(files={"model.safetensors": b"w" * 1000, "tokenizer.json": b"t" * 10}),
        "onnx-fp32": VariantPlan(files=files, backend="onnx", directory="onnx-fp32"),
        "onnx-int8": VariantPlan(files=files, backend="onnx", directory="onnx-int8"),
    }
    root = tmp_path / "bundle"
    make_bundle(root, [type(mini)(name="mini", variants=variants)], default="mini")
    yield open_bundle(root).manifest
    make_writable(root)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        # A tokenizer takes 24 times its file; onnxruntime has packed weights a second time.
        ("torch-fp32", 64 * MEBIBYTE + 1000 + 240),
        ("onnx-fp32", 32 * MEBIBYTE + 1100 + 240),
        ("onnx-int8", 32 * MEBIBYTE + 2 * 1100 + 240),
    ],
)
def test_files_and_what_libraries_keep(manifest: Manifest, variant: str, expected: int) -> None:
    built = manifest.models["mini"].built
    assert built is not None
    [found] = [candidate for candidate in built.variants if candidate.name == variant]
    assert resident_bytes(manifest, found) == expected


def test_memory_is_returned_whatever_the_c_library_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    give_back()

    class Other:
        def __getattr__(self, name: str) -> object:
            raise AttributeError(name)

    monkeypatch.setattr("ctypes.CDLL", lambda name: Other())
    give_back()
