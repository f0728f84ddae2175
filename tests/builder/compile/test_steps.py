"""The steps of compiling a model, and which of them wait for which."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.compiled import job_of
from tests.support.projects import environment_of_children
from thoth_models.bundle.canonical_json import FormatError
from thoth_models_builder.compile.steps import Step, steps_of
from thoth_models_builder.spec.compile_job import PLAIN_ARITHMETIC


def steps(*variants: str) -> dict[str, Step]:
    return {step.name: step for step in steps_of(replace(job_of(), variants=variants))}


def test_golden_vectors_and_the_graph_are_made_side_by_side() -> None:
    found = steps("onnx-fp32", "onnx-int8", "torch-fp32")
    assert {name: set(step.needs) for name, step in found.items() if name != "record"} == {
        "export": set(),
        "golden vectors": set(),
        "optimise onnx-fp32": {"export"},
        "quantise onnx-int8": {"export"},
        "measure torch-fp32": {"golden vectors"},
        "measure onnx-fp32": {"golden vectors", "optimise onnx-fp32"},
        "measure onnx-int8": {"golden vectors", "quantise onnx-int8"},
    }
    assert set(found["record"].needs) == found.keys() - {"record"}


def test_the_corpus_has_reference_vectors_also_where_no_variant_gives_them() -> None:
    assert "reference vectors" in steps("onnx-int8")
    assert "reference vectors" not in steps("onnx-int8", "torch-fp32")


def test_what_is_not_compiled_is_not_exported() -> None:
    assert list(steps("torch-fp32")) == ["golden vectors", "measure torch-fp32", "record"]


def test_golden_vectors_alone_are_computed_plainly_and_in_one_thread() -> None:
    found = steps("onnx-fp32", "onnx-int8", "torch-fp32").values()
    assert [step.name for step in found if step.is_plain] == ["golden vectors"]
    assert all(step.uses_cores == step.name.startswith("measure") for step in found)


def test_a_job_with_code_has_no_variant_that_would_run_it() -> None:
    job = replace(job_of(), variants=("onnx-fp32",), code=("modeling.py",))
    with pytest.raises(FormatError, match=r"variants: expected compiled ones only, .* found torch-fp32"):
        steps_of(replace(job, variants=("onnx-fp32", "torch-fp32")))


_CAPABILITIES = """
import torch
from thoth_models_builder.compile.steps import use_native_arithmetic
if {native} is not None:
    use_native_arithmetic({native})
print(torch.backends.cpu.get_cpu_capability())
"""


@pytest.mark.torch
@pytest.mark.skipif(
    "avx2" not in Path("/proc/cpuinfo").read_text(encoding="utf-8").split(), reason="this processor is plain itself"
)
def test_the_choice_of_arithmetic_can_be_made_after_the_imports() -> None:
    """Which instructions are used is decided when torch first computes, not when it is imported."""
    found = [
        subprocess.run(
            [sys.executable, "-c", _CAPABILITIES.format(native=native)],
            env=environment_of_children(**PLAIN_ARITHMETIC),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for native in (None, {}, {"ATEN_CPU_CAPABILITY": "avx2"})
    ]
    assert found[0] == "DEFAULT"
    assert found[1].startswith("AVX")
    # What the environment of the builder said holds for the steps that need not be plain.
    assert found[2] == "AVX2"
