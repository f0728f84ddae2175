"""The same bytes whatever the processor: other instruction sets, by the switches of libraries and by an emulator.

The emulator is qemu-x86_64, which runs a process of this machine on a processor without AVX (Nehalem), or without
AVX-512 (Haswell). It is slow, so it runs here what has no switch, which is onnxruntime, on tiny graphs. That other
instructions are at work at all is what the positive controls show.
"""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import make_writable
from tests.support.exported import MAKERS
from tests.support.projects import REPOSITORY, Project, environment_of_children, run_builder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = [pytest.mark.onnx, pytest.mark.torch]

KINDS = ("wordpiece", "unigram", "static")
VARIANTS = ("onnx-fp32", "onnx-int8", "torch-fp32")
PROCESSORS = ("Nehalem", "Haswell")

EMULATOR = shutil.which("qemu-x86_64")
emulated = pytest.mark.skipif(EMULATOR is None, reason="qemu-x86_64 of Debian's package qemu-user is not installed")

_PRODUCTS = """
import hashlib
import numpy
random = numpy.random.default_rng(1)
left, right = (random.normal(size=shape).astype(numpy.float32) for shape in ((64, 300), (300, 64)))
print(hashlib.sha256((left @ right).tobytes()).hexdigest(), hashlib.sha256(numpy.exp(left).tobytes()).hexdigest())
"""


def run(*arguments: str, processor: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run Python on this processor or on another one, and return what it prints."""
    on = [] if processor is None else [EMULATOR or "", "-cpu", processor]
    surroundings = {**environment_of_children(), **(environment or {})}
    surroundings["PYTHONPATH"] += f":{REPOSITORY}"
    done = subprocess.run(
        [*on, sys.executable, *arguments],
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def switches() -> dict[str, str]:
    """Return what makes each library that has such a switch use the instructions of an older processor."""
    numpy_parts = importlib.import_module("numpy._core._multiarray_umath")
    present = numpy_parts.__cpu_features__
    return {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_CBWR": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in numpy_parts.__cpu_dispatch__ if present.get(name)),
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Nehalem",
    }


# --- graphs, under the emulator ---


@pytest.fixture(scope="module")
def raw_graphs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The graphs of tiny models as they are exported, each in a directory named after its kind."""
    from thoth_models_builder.compile.export import export_graph, load_reference

    place = tmp_path_factory.mktemp("raw")
    for kind in KINDS:
        export_graph(load_reference(MAKERS[kind](place / kind / "source").directory), place / kind / "raw.onnx")
    return [place / kind for kind in KINDS]


def graph_digests(graphs: list[Path], processor: str | None = None) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(
        run("-m", "tests.support.graph_digests", *map(str, graphs), processor=processor)
    )
    return found


@emulated
@pytest.mark.parametrize("processor", PROCESSORS)
def test_graphs_are_optimised_and_quantised_to_the_same_bytes(raw_graphs: list[Path], processor: str) -> None:
    here = graph_digests(raw_graphs)
    assert {f"{variant}/model.onnx{end}" for variant in ("fp32", "int8") for end in ("", ".data")} <= set(
        here["wordpiece"]
    )
    assert graph_digests(raw_graphs, processor) == here


@emulated
def test_the_emulator_computes_with_other_instructions() -> None:
    """The positive control: products of floats differ in their last bits between these processors."""
    assert len({run("-c", _PRODUCTS, processor=processor) for processor in PROCESSORS}) == len(PROCESSORS)


# --- whole builds, under the switches of libraries ---


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with a model of each kind, in all variants, locked."""
    project = Project(tmp_path_factory.mktemp("any") / "project")
    models = {}
    for kind in KINDS:
        MAKERS[kind](project.root / "models" / kind)
        models[kind] = {
            "sources": [{"directory": f"models/{kind}"}],
            "golden": True,
            "variants": list(VARIANTS),
            # Random weights put all texts close together, so that rounding decides who is nearest.
            "int8_floor": {"neighbour_agreement": 0.05},
        }
    project.specify(models)
    project.lock()
    yield project
    make_writable(project.root)


def checksums(project: Project, name: str, environment: Mapping[str, str]) -> str:
    """Build into a directory and a store of that name, and return the list of all digests."""
    output = project.root / name
    places = ("--output", str(output), "--store", str(project.root / f"{name}-store"))
    arguments = [*project.arguments("build"), *places]
    done = run_builder(*arguments, env={**environment_of_children(), **environment}, timeout=900)
    assert done.returncode == 0, done.stderr
    return (output / "SHA256SUMS").read_text(encoding="utf-8")


def test_a_bundle_is_the_same_under_the_instructions_of_an_older_processor(project: Project) -> None:
    here = checksums(project, "here", {})
    assert here.count("golden.json") == len(KINDS)
    assert checksums(project, "older", {**switches(), "OMP_NUM_THREADS": "1"}) == here


def test_the_switches_do_something() -> None:
    """The positive control, for libraries that show it on every processor with AVX2."""
    if not switches()["NPY_DISABLE_CPU_FEATURES"]:
        pytest.skip("this processor has no AVX2, so that the switches leave nothing out")
    assert run("-c", _PRODUCTS, environment=switches()) != run("-c", _PRODUCTS)
