"""Bundles with compiled variants, from models.yaml to vectors: made, proved, kept, refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.builder.projects import Project, environment_of_children
from tests.bundles import make_writable
from tests.tiny_models import MIXED_TEXTS
from thoth_models import load_embedding
from thoth_models.golden import Golden
from thoth_models.verify import verify
from thoth_models_builder import compiling, derivation, gathering
from thoth_models_builder.derivation import FP32_COSINE
from thoth_models_builder.errors import AccuracyError, CompileError, CompilerUnavailableError, UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.tiny_models import TinyModel
    from thoth_models.manifest import BuiltModel
    from thoth_models_builder.reports import BuildReport

pytestmark = [pytest.mark.torch, pytest.mark.onnx]

ALL = ["onnx-fp32", "onnx-int8", "torch-fp32"]
LOW: dict[str, Any] = {"neighbour_agreement": 0.05}
"""Random weights put all texts close together, so that rounding decides who is nearest."""


def project_of(root: Path, model: TinyModel, **options: Any) -> Project:
    """A project whose one model is copied into it, locked."""
    project = Project(root)
    shutil.copytree(model.directory, root / "models/mini")
    facts = {"sources": [{"directory": "models/mini"}], "golden": True, "variants": ALL, "int8_floor": LOW}
    project.specify({"mini": {**facts, **options}})
    project.lock()
    return project


@pytest.fixture(scope="module")
def compiled(
    tmp_path_factory: pytest.TempPathFactory, prompted_model: TinyModel
) -> Iterator[tuple[Project, BuildReport]]:
    """A project with a bundle of all variants of a model with prompts; tests must leave both as they are."""
    project = project_of(tmp_path_factory.mktemp("compiled") / "project", prompted_model, normalize=False)
    yield project, project.build()
    make_writable(project.root)


@pytest.fixture
def another(tmp_path: Path, compiled: tuple[Project, BuildReport]) -> Iterator[Project]:
    """A copy of the project with its store, and without its bundle."""
    shutil.copytree(compiled[0].root, tmp_path / "another", ignore=shutil.ignore_patterns("bundle"))
    yield Project(tmp_path / "another")
    make_writable(tmp_path)


def built_of(project: Project) -> BuiltModel:
    built = verify(project.output, strict=True).manifest.models["mini"].built
    assert built is not None
    return built


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(gathering, "compile_model", refuse)


def test_every_variant_is_shipped_with_what_was_measured(compiled: tuple[Project, BuildReport]) -> None:
    project, report = compiled
    built = built_of(project)
    assert [variant.name for variant in built.variants] == ALL
    accuracy = {variant.name: variant.accuracy for variant in built.variants}
    for name, found in accuracy.items():
        assert found is not None
        reached = max(0.95, round(found.minimum_cosine - 0.005, 5))
        assert found.required_cosine == (reached if name == "onnx-int8" else FP32_COSINE)
        assert found.minimum_cosine >= found.required_cosine
        assert LOW["neighbour_agreement"] <= found.neighbour_agreement <= 1
    assert accuracy["onnx-int8"] != accuracy["onnx-fp32"]
    assert built.proof is not None
    assert built.proof.golden == "mini/golden.json"
    assert {"torch", "onnxruntime", "onnx", "python", "recipe"} <= set(built.proof.toolchain)
    (model,) = report.models
    assert set(model.accuracy) == set(ALL)
    assert report.compile_seconds > 0
    assert report.own_seconds < report.compile_seconds


def test_golden_vectors_are_those_of_plain_sentence_transformers(
    compiled: tuple[Project, BuildReport], prompted_model: TinyModel
) -> None:
    golden = Golden.from_bytes((compiled[0].output / "mini/golden.json").read_bytes(), dimension=32)
    assert golden.prompts.count("") == 64
    assert set(golden.prompts) == {"", "query: ", "document: ", "passage: "} or len(set(golden.prompts)) > 1
    plain = prompted_model.plain()
    for index in (0, 30, 63, len(golden.texts) - 1):
        expected = plain.encode(golden.texts[index], prompt=golden.prompts[index])
        assert np.abs(golden.vectors[index] - expected).max() < 1e-5
    # The longest is longer than what the model takes.
    tokens = plain.tokenizer(golden.texts[63])["input_ids"]
    assert len(tokens) > (prompted_model.max_seq_length or 0)


@pytest.mark.parametrize("variant", ["onnx-fp32", "torch-fp32"])
def test_the_variants_give_the_vectors_of_plain_sentence_transformers(
    compiled: tuple[Project, BuildReport], prompted_model: TinyModel, variant: str
) -> None:
    embedding = load_embedding("mini", root=compiled[0].output, variants=[variant])
    assert embedding.info.golden_cosine is not None
    assert embedding.info.golden_cosine > FP32_COSINE
    for prompt in ("", "query: ", "anything at all "):
        expected = prompted_model.plain().encode(list(MIXED_TEXTS), prompt=prompt, batch_size=4)
        found = embedding.encode(MIXED_TEXTS, prompt=prompt)
        cosines = (expected * found).sum(axis=1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(found, axis=1)
        assert cosines.min() > FP32_COSINE
    # The default prompt of the model is applied by both.
    assert np.abs(embedding.encode("water") - prompted_model.plain().encode("water")).max() < 1e-5


@pytest.mark.usefixtures("no_compiler")
def test_nothing_is_compiled_twice(compiled: tuple[Project, BuildReport], another: Project) -> None:
    """Neither beside the bundle, nor where only the store is left, nor for what does not concern the compiler."""
    again = compiled[0].build()
    assert again.is_unchanged
    assert again.compile_seconds == 0
    from_store = another.build()
    assert from_store.bundle_digest == again.bundle_digest
    assert {file.source for file in from_store.models[0].files if file.path.startswith("onnx")} == {"store"}
    another.specify(
        {
            "renamed": {
                "sources": [{"directory": "models/mini"}],
                "golden": True,
                "variants": list(reversed(ALL)),
                "aliases": ["other"],
                "int8_floor": {**LOW, "minimum_cosine": 0.5},
            }
        }
    )
    another.lock()
    make_writable(another.output)
    shutil.rmtree(another.output)
    another.build()
    renamed = verify(another.output).manifest.models["renamed"].built
    assert renamed is not None
    assert [variant.name for variant in renamed.variants] == ["torch-fp32", "onnx-int8", "onnx-fp32"]
    required = [variant.accuracy.required_cosine for variant in renamed.variants if variant.accuracy is not None]
    assert required[::2] == [FP32_COSINE, FP32_COSINE]
    # Asked for is what this model reached, however low the floor.
    assert required[1] > 0.95


def test_compiled_files_are_the_same_bytes_in_another_place(
    compiled: tuple[Project, BuildReport], another: Project
) -> None:
    shutil.rmtree(another.store)
    assert another.build().compile_seconds > 0
    assert (another.output / "SHA256SUMS").read_bytes() == (compiled[0].output / "SHA256SUMS").read_bytes()


def test_a_store_that_lost_or_spoiled_a_derived_file_compiles_again(another: Project) -> None:
    first = another.build()
    make_writable(another.output)
    shutil.rmtree(another.output)
    graph = next(file for file in first.models[0].files if file.path == "onnx-fp32/model.onnx.data")
    place = another.store / "objects" / graph.sha256[:2] / graph.sha256[2:]
    place.chmod(0o644)
    place.write_bytes(b"\0" * graph.size)
    again = another.build()
    assert again.compile_seconds > 0
    assert again.bundle_digest == first.bundle_digest


def test_another_toolchain_is_another_compilation(
    another: Project, monkeypatch: pytest.MonkeyPatch, compiled: tuple[Project, BuildReport]
) -> None:
    version = derivation._version
    monkeypatch.setattr(derivation, "_version", lambda name: "9.9" if name == "onnx" else version(name))
    report = another.build()
    assert report.compile_seconds > 0
    assert report.bundle_digest != compiled[1].bundle_digest
    proof = built_of(another).proof
    assert proof is not None
    assert proof.toolchain["onnx"] == "9.9"


def test_without_its_libraries_the_compiler_says_what_to_install(
    another: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = derivation._version
    monkeypatch.setattr(derivation, "_version", lambda name: None if name in ("onnx", "torch") else version(name))
    with pytest.raises(CompilerUnavailableError, match=r"found no torch, onnx$"):
        another.build()


def test_the_source_files_are_left_out_where_nothing_runs_them(tmp_path: Path, wordpiece_model: TinyModel) -> None:
    project = project_of(tmp_path / "project", wordpiece_model, variants=["onnx-fp32"])
    project.build()
    assert not (project.output / "mini/source").exists()
    embedding = load_embedding("mini", root=project.output)
    assert embedding.info.variant == "onnx-fp32"
    assert np.abs(embedding.encode("water") - wordpiece_model.plain().encode("water")).max() < 1e-5
    # Neither the source nor the store is needed for what is there already.
    shutil.rmtree(project.root / "models/mini")
    shutil.rmtree(project.store)
    again = project.build()
    assert again.is_unchanged
    assert again.attempts == ()
    make_writable(tmp_path)


# --- gates ---


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize(
    ("floor", "message"),
    [
        ({**LOW, "minimum_cosine": 1.0}, "onnx-int8: expected a minimum cosine of 1.0, found 0"),
        ({"neighbour_agreement": 1.0}, "onnx-int8: expected a neighbour agreement of 1.0, found 0"),
    ],
)
def test_a_quantised_variant_below_its_floor_fails_the_build(
    another: Project, floor: dict[str, float], message: str
) -> None:
    another.specify(
        {
            "mini": {
                "sources": [{"directory": "models/mini"}],
                "golden": True,
                "variants": ALL,
                "normalize": False,
                "int8_floor": floor,
            }
        }
    )
    with pytest.raises(AccuracyError, match=message):
        another.build()
    assert not another.output.exists()


def test_a_graph_that_is_not_the_model_fails_the_build(another: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compiling.find_compiled

    def spoiled(*arguments: Any) -> Any:
        derived = found(*arguments)
        assert derived is not None
        accuracy = {name: replace(measured, minimum_cosine=0.99998) for name, measured in derived.accuracy.items()}
        return replace(derived, accuracy=accuracy)

    monkeypatch.setattr(gathering, "find_compiled", spoiled)
    with pytest.raises(AccuracyError, match=r"onnx-fp32: expected a minimum cosine of 0\.99999, found 0\.99998"):
        another.build()


# --- what cannot be exported ---


@pytest.fixture
def not_exportable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Workers of this test cannot export: a module that is found first says so."""
    place = tmp_path / "first"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "import sys, types\n"
        "from thoth_models_builder.compile.errors import NotExportableError\n"
        "fake = types.ModuleType('thoth_models_builder.compile.export')\n"
        "def export_graph(*_): raise NotExportableError('a loop that depends on the data')\n"
        "fake.export_graph, fake.write_tokenizer, fake.load_reference = export_graph, None, lambda _: None\n"
        "sys.modules['thoth_models_builder.compile.export'] = fake\n",
        encoding="utf-8",
    )
    path = environment_of_children()["PYTHONPATH"]
    monkeypatch.setenv("PYTHONPATH", f"{place}:{path}")


@pytest.mark.usefixtures("not_exportable")
@pytest.mark.parametrize("listed", [["onnx-fp32", "torch-fp32"], ["onnx-fp32"]])
def test_a_model_that_cannot_be_exported_ships_for_torch_alone(
    tmp_path: Path, wordpiece_model: TinyModel, listed: list[str]
) -> None:
    project = project_of(tmp_path / "project", wordpiece_model, variants=listed)
    report = project.build()
    assert report.notes == ("mini: onnx-fp32 is left out: a loop that depends on the data",)
    built = built_of(project)
    assert [variant.name for variant in built.variants] == ["torch-fp32"]
    assert built.proof is not None
    assert built.proof.omitted == {"onnx-fp32": "a loop that depends on the data"}
    assert load_embedding("mini", root=project.output).info.variant == "torch-fp32"
    assert project.build().is_unchanged
    with pytest.raises(UnsupportedModelError, match="--strict allows no variant to be left out"):
        project.build(strict=True)
    make_writable(tmp_path)


# --- a compiler that fails ---


def test_a_worker_that_fails_shows_the_end_of_its_log(tmp_path: Path, wordpiece_model: TinyModel) -> None:
    project = project_of(tmp_path / "project", wordpiece_model)
    weights = project.root / "models/mini/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    project.lock()
    with pytest.raises(CompileError, match=r"step 'golden' to succeed, found exit code 1\n(.|\n)*Traceback"):
        project.build()
    assert not project.output.exists()
    assert list((project.store / "scratch").iterdir()) == []


def test_a_worker_that_takes_too_long_is_killed(tmp_path: Path, wordpiece_model: TinyModel) -> None:
    project = project_of(tmp_path / "project", wordpiece_model)
    started = time.monotonic()
    with pytest.raises(CompileError, match=r"step 'golden' to end within 0\.3 s, found it at work still"):
        project.build(compile_deadline=0.3)
    assert time.monotonic() - started < 30


def test_a_worker_ends_with_its_builder() -> None:
    """Its standard input closes when the builder dies, however it dies."""
    code = (
        "import time\nfrom thoth_models_builder.compile.worker import _end_with_the_builder\n"
        "_end_with_the_builder()\nprint('waiting', flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment_of_children()
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"waiting\n"
        process.stdin.close()
        assert process.wait(20) == 1


def test_a_record_of_another_release_is_no_result(compiled: tuple[Project, BuildReport], another: Project) -> None:
    proof = built_of(compiled[0]).proof
    assert proof is not None
    record = another.store / "records" / proof.derivation.hex
    document = json.loads(record.read_bytes())
    record.write_bytes(json.dumps({**document, "version": 99}).encode())
    from thoth_models_builder.store import Store

    assert compiling.find_compiled(Store(another.store), proof.derivation) is None
