"""The key of a compilation, the record of what it gave, and the gates that this has to pass."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from thoth_models.bundle.accuracy import Accuracy, Gate
from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models_builder.bundle import derivation
from thoth_models_builder.bundle.derivation import (
    FP32_COSINE,
    Derived,
    cache_key,
    gate_for,
    gated,
    is_decided,
    toolchain,
    with_figures,
)
from thoth_models_builder.errors import AccuracyError, CompilerUnavailableError
from thoth_models_builder.spec.models_yaml import Int8Floor

SOURCE = {"config.json": ContentDigest(size=2, sha256=Digest.of(b"{}"))}
FIGURES = Accuracy(minimum_cosine=0.99999, mean_cosine=1.0, largest_difference=1e-6, neighbour_agreement=0.99)
MADE = Derived(
    files={"golden.json": ContentDigest(size=4, sha256=Digest.of(b"gold"))},
    golden="golden.json",
    variants=("onnx-int8", "torch-fp32"),
    omitted={"onnx-fp32": "a reason"},
    derivation=Digest.of(b"key"),
    toolchain={"torch": "1"},
    accuracy={"onnx-int8": FIGURES, "torch-fp32": FIGURES},
)
FLOOR = Int8Floor()


def test_the_key_is_that_of_source_variants_toolchain_and_settings() -> None:
    key = cache_key(SOURCE, ["a", "b"], {"torch": "1"})
    assert cache_key(dict(SOURCE), ["b", "a"], {"torch": "1"}) == key
    others = [
        cache_key({"other.json": SOURCE["config.json"]}, ["a", "b"], {"torch": "1"}),
        cache_key({"config.json": ContentDigest(size=2, sha256=Digest.of(b"[]"))}, ["a", "b"], {"torch": "1"}),
        cache_key(SOURCE, ["a"], {"torch": "1"}),
        cache_key(SOURCE, ["a", "b"], {"torch": "2"}),
        cache_key(SOURCE, ["a", "b"], {"torch": "1"}, {"pooling": ("cls",)}),
        cache_key(SOURCE, ["a", "b"], {"torch": "1"}, {"pooling": ("mean",)}),
    ]
    assert len({key, *others}) == 7


def test_a_toolchain_has_libraries_python_machine_and_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derivation, "_version", lambda name: f"1 of {name}")
    plain, compiled = toolchain(["torch-fp32"]), toolchain(["onnx-fp32"])
    assert {"torch", "numpy", "python", "machine", "compiler"} <= plain.keys()
    assert compiled.keys() - plain.keys() == {"onnx", "onnx-ir", "onnxruntime", "onnxscript", "protobuf"}


def test_every_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derivation, "_version", lambda name: None if name in ("torch", "onnx") else "1")
    with pytest.raises(CompilerUnavailableError, match=r"found no torch, onnx$"):
        toolchain(["onnx-fp32"])


def test_a_record_is_read_as_it_was_written() -> None:
    assert Derived.from_bytes(MADE.to_bytes()) == MADE


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("key", "value"),
    [("version", 0), ("variants", ["torch-fp16"]), ("accuracy", {}), ("golden", "../golden.json"), ("files", [])],
)
def test_a_malformed_record_of_a_compilation_is_refused(key: str, value: Any) -> None:
    with pytest.raises(FormatError):
        Derived.from_bytes(json.dumps({**json.loads(MADE.to_bytes()), key: value}).encode())


def test_gates_follow_from_the_specification() -> None:
    floor = FLOOR.model_copy(update={"minimum_cosine": 0.9, "neighbour_agreement": 0.8})
    assert gate_for("torch-fp32", floor) == gate_for("onnx-fp32", floor) == Gate.of(FP32_COSINE)
    assert gate_for("onnx-int8", floor) == Gate.of(0.9, 0.8)
    assert gated("mini", MADE, floor).gates == {name: gate_for(name, floor) for name in MADE.variants}


def test_what_misses_its_gate_is_told_with_every_figure() -> None:
    low = replace(FIGURES, minimum_cosine=0.5, neighbour_agreement=0.1)
    with pytest.raises(AccuracyError) as caught:
        gated("mini", replace(MADE, accuracy={"onnx-int8": low, "torch-fp32": low}), FLOOR)
    assert str(caught.value).count("expected a minimum cosine of") == 2
    assert "onnx-int8: expected a neighbour agreement of" in str(caught.value)


def test_without_figures_another_gate_is_not_decided() -> None:
    passed = replace(gated("mini", MADE, FLOOR), accuracy={})
    other = FLOOR.model_copy(update={"minimum_cosine": 0.5})
    assert is_decided(passed, FLOOR)
    assert not is_decided(passed, other)
    assert is_decided(with_figures(passed, MADE), other)
    assert not is_decided(with_figures(passed, replace(MADE, files={})), other)
