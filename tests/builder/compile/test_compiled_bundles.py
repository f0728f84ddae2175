"""Bundles with compiled variants, from models.yaml to vectors: made, proved, kept, refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.bundles import make_writable
from tests.support.checkpoints import split, with_tokenizer
from tests.support.compiled import ALL, LOW, path_of_children, project_of
from tests.support.projects import Project, environment_of_children, snapshot
from tests.support.signing import make_key
from tests.support.tiny_models import MIXED_TEXTS
from thoth_models import load_embedding
from thoth_models.bundle.accuracy import Gate
from thoth_models.bundle.canonical_json import canonical_json
from thoth_models.bundle.golden import Golden
from thoth_models.process.environment import Trust
from thoth_models.verification.report_file import read_report, report_path
from thoth_models.verification.verify import open_bundle, verify
from thoth_models_builder.bundle import derivation
from thoth_models_builder.bundle.derivation import FP32_COSINE, Derived
from thoth_models_builder.errors import AccuracyError, CompileError, CompilerUnavailableError, UnsupportedModelError
from thoth_models_builder.pipeline import compiler_process as compiling
from thoth_models_builder.pipeline import prepare_model as gathering
from thoth_models_builder.pipeline.signing.attest import AttestOptions, attest
from thoth_models_builder.pipeline.signing.check_attestations import check_attestations
from thoth_models_builder.spec.compile_job import PLAIN_ARITHMETIC
from thoth_models_builder.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.tiny_models import TinyModel
    from thoth_models.bundle.manifest import BuiltModel
    from thoth_models.bundle.report import Report
    from thoth_models_builder.reports.results import BuildReport

pytestmark = [pytest.mark.torch, pytest.mark.onnx]


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
    shutil.copytree(compiled[0].root, tmp_path / "another", ignore=shutil.ignore_patterns("bundle*"))
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

    monkeypatch.setattr(compiling.Compiler, "submit", refuse)


def report_of(project: Project) -> Report:
    bundle = open_bundle(project.output)
    report, note = read_report(bundle.root, bundle.bundle_digest)
    assert note is None
    assert report is not None
    return report


@pytest.mark.signing
def test_what_was_compiled_is_attested(compiled: tuple[Project, BuildReport], tmp_path: Path) -> None:
    """The cache key of a real compilation follows from the statement, and each part of the toolchain has a digest."""
    project, key = compiled[0], make_key(tmp_path)
    options = AttestOptions(
        bundle=project.output,
        file=project.file,
        lock=project.lock_file,
        builder_id="https://ci.example.org",
        key=key.file,
        output=tmp_path / "attestations",
    )
    assert attest(options).without_digest == ()
    found = check_attestations(verify(project.output), Trust(path=key.public_file), tmp_path / "attestations")
    assert len(found) == 3


def test_every_variant_is_shipped_with_its_gate_and_what_was_measured(compiled: tuple[Project, BuildReport]) -> None:
    project, report = compiled
    built = built_of(project)
    assert [variant.name for variant in built.variants] == ALL
    assert {variant.name: variant.gate for variant in built.variants} == {
        "onnx-fp32": Gate(required_cosine=FP32_COSINE),
        "onnx-int8": Gate(required_cosine=0.95, required_agreement=LOW["neighbour_agreement"]),
        "torch-fp32": Gate(required_cosine=FP32_COSINE),
    }
    accuracy = report_of(project).models["mini"]
    assert set(accuracy) == set(ALL)
    for variant in built.variants:
        assert variant.gate is not None
        assert variant.gate.misses(accuracy[variant.name]) == []
    assert accuracy["onnx-int8"] != accuracy["onnx-fp32"]
    golden = Golden.from_bytes((project.output / "mini/golden.json").read_bytes(), dimension=32)
    assert {len(figures.cosines) for figures in accuracy.values()} == {len(golden.texts)}
    assert report.report == str(report_path(project.output))
    assert built.record is not None
    assert built.record.golden == "mini/golden.json"
    assert {"torch", "onnxruntime", "onnx", "python", "compiler"} <= set(built.record.toolchain)
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
    required = [variant.gate.required_cosine for variant in renamed.variants if variant.gate is not None]
    assert required == [FP32_COSINE, 0.5, FP32_COSINE]
    assert set(report_of(another).models) == {"renamed"}


# --- what was measured ---


def forget_bundle(project: Project) -> None:
    make_writable(project.output)
    shutil.rmtree(project.output)


@pytest.mark.usefixtures("no_compiler")
def test_the_digest_does_not_depend_on_what_was_measured(
    another: Project, compiled: tuple[Project, BuildReport]
) -> None:
    """Another processor measures other last digits of the same files."""
    built = built_of(compiled[0])
    assert built.record is not None
    record = another.store / "records" / built.record.derivation.hex
    data = record.read_bytes()
    measured = Derived.from_bytes(data).accuracy["onnx-int8"]
    cosines = tuple(cosine - 4e-4 for cosine in measured.cosines)
    other = replace(measured, minimum_cosine=min(cosines), cosines=cosines, largest_difference=9e-8)
    old, new = (canonical_json(value.to_document()).strip() for value in (measured, other))
    assert data.count(old) == 1
    record.write_bytes(data.replace(old, new))
    assert another.build().bundle_digest == compiled[1].bundle_digest
    assert (another.output / "SHA256SUMS").read_bytes() == (compiled[0].output / "SHA256SUMS").read_bytes()
    found = report_of(another).of("mini", "onnx-int8")
    assert found is not None
    assert found.largest_difference == 9e-8


@pytest.mark.usefixtures("no_compiler")
def test_a_build_with_nothing_to_do_rewrites_neither_bundle_nor_report(another: Project) -> None:
    another.build()
    before = snapshot(another.output), snapshot(report_path(another.output))
    again = another.build()
    assert again.is_unchanged
    assert again.own_seconds < 1
    assert (snapshot(another.output), snapshot(report_path(another.output))) == before


@pytest.mark.usefixtures("no_compiler")
def test_a_report_that_is_lost_is_written_again_from_the_store(another: Project) -> None:
    another.build()
    report = report_of(another)
    report_path(another.output).unlink()
    assert another.build().is_unchanged
    assert report_of(another) == report
    forget_bundle(another)
    report_path(another.output).unlink()
    another.build()
    assert report_of(another) == report


@pytest.mark.usefixtures("no_compiler")
def test_a_bundle_alone_still_says_which_gates_were_passed(another: Project) -> None:
    another.build()
    report = report_of(another)
    shutil.rmtree(another.store)
    kept = another.build()
    assert kept.is_unchanged
    assert report_of(another) == report
    assert set(kept.models[0].accuracy) == set(ALL)
    report_path(another.output).unlink()
    alone = another.build()
    assert alone.is_unchanged
    assert alone.report is None
    assert not report_path(another.output).exists()
    (model,) = alone.models
    assert model.accuracy == {}
    assert model.gates["onnx-int8"]["required_cosine"] == 0.95


def test_another_gate_is_not_decided_without_figures(another: Project, no_compiler: None) -> None:
    another.build()
    facts = {"sources": [{"directory": "models/mini"}], "golden": True, "variants": ALL, "normalize": False}
    another.specify({"mini": {**facts, "int8_floor": {**LOW, "minimum_cosine": 0.9}}})
    digest = another.build().bundle_digest
    assert built_of(another).variants[1].gate == Gate(required_cosine=0.9, required_agreement=0.05)
    shutil.rmtree(another.store)
    assert another.build().bundle_digest == digest
    another.specify({"mini": {**facts, "int8_floor": {**LOW, "minimum_cosine": 0.8}}})
    with pytest.raises(AssertionError, match="compiled again"):
        another.build()


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
    record = built_of(another).record
    assert record is not None
    assert record.toolchain["onnx"] == "9.9"


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
    found = gathering.find_compiled

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
    """Compilers of this test cannot export: a module that is found first says so."""
    place = tmp_path / "first"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "import sys, types\n"
        "from thoth_models_builder.compile.errors import NotExportableError\n"
        "fake = types.ModuleType('thoth_models_builder.compile.export')\n"
        "def export_graph(*_, **__): raise NotExportableError('a loop that depends on the data')\n"
        "fake.export_graph, fake.write_tokenizer, fake.load_reference = export_graph, None, lambda *_, **__: None\n"
        "sys.modules['thoth_models_builder.compile.export'] = fake\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", path_of_children(place))


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
    assert built.record is not None
    assert built.record.omitted == {"onnx-fp32": "a loop that depends on the data"}
    assert load_embedding("mini", root=project.output).info.variant == "torch-fp32"
    assert project.build().is_unchanged
    with pytest.raises(UnsupportedModelError, match="with --strict no variant may be left out"):
        project.build(strict=True)
    make_writable(tmp_path)


# --- a compiler that fails ---


def test_a_step_that_fails_shows_the_end_of_its_log_and_leaves_other_models_alone(
    tmp_path: Path, wordpiece_model: TinyModel, unigram_model: TinyModel
) -> None:
    # A regular expression for which the library reaches its limit of steps, with texts of some length.
    failing = with_tokenizer(wordpiece_model, tmp_path / "failing", {"pre_tokenizer": split(r".*.*.*(?!.|$)|\s")})
    project = project_of(tmp_path / "project", failing, others={"other": unigram_model}, variants=ALL[2:])
    step = "expected the compiler's step 'golden vectors' to succeed, found [.\\w]+PanicException: "
    found = rf"^mini: {step}.*; exit code 1\n(.|\n)*, in write_golden\n"
    with pytest.raises(CompileError, match=found):
        project.build()
    assert not project.output.exists()
    assert list((project.store / "scratch").iterdir()) == []
    assert ("end", "other") in project.watcher.steps.calls
    # What came of the other one is there: a build of it alone has nothing to compile.
    report = project.build(models=["other"])
    assert report.compile_seconds == 0
    assert {file.source for file in report.models[0].files if file.path == "golden.json"} == {"store"}
    make_writable(tmp_path)


def test_a_compilation_that_takes_too_long_is_ended(tmp_path: Path, wordpiece_model: TinyModel) -> None:
    project = project_of(tmp_path / "project", wordpiece_model)
    with pytest.raises(
        CompileError, match=r"^mini: expected the compiler to end within 0\.1 s, found it at work still"
    ):
        project.build(compile_deadline=0.1)


_COUNTED = """
import os, sys
from importlib.abc import MetaPathFinder

class Counter(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch":
            with open({log!r}, "a") as log:
                log.write(" ".join(sys.orig_argv) + "\\n")

sys.meta_path.insert(0, Counter())
"""


def test_a_build_of_three_models_imports_torch_once(
    tmp_path: Path, tiny_models_by_name: dict[str, TinyModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, log = tmp_path / "first", tmp_path / "imports"
    place.mkdir()
    (place / "sitecustomize.py").write_text(_COUNTED.format(log=str(log)), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", path_of_children(place))
    models = dict(tiny_models_by_name)
    project = project_of(
        tmp_path / "project",
        models["mini"],
        others={name: models[name] for name in ("multilingual", "half")},
        variants=["onnx-fp32", "torch-fp32"],
    )
    report = project.build()
    assert all(set(model.accuracy) == {"onnx-fp32", "torch-fp32"} for model in report.models)
    assert len(report.models) == 3
    (line,) = log.read_text(encoding="utf-8").splitlines()
    assert " -m thoth_models_builder.compile.server " in line
    make_writable(tmp_path)


_IN_A_PROCESS_OF_ITS_OWN = """
import sys
from pathlib import Path
import numpy as np
from thoth_models_builder.compile.reference import Reference
from thoth_models_builder.compile.texts import golden_texts
prompts = {{"query": "query: ", "document": "document: ", "passage": "passage: "}}
np.save(sys.argv[2], Reference(Path(sys.argv[1])).encode(golden_texts({limit}, prompts)))
"""


def test_golden_vectors_are_those_of_plain_arithmetic_from_the_start(
    compiled: tuple[Project, BuildReport], prompted_model: TinyModel, tmp_path: Path
) -> None:
    """Also where the process that computes them is a child of one that imported its libraries before."""
    code = _IN_A_PROCESS_OF_ITS_OWN.format(limit=prompted_model.max_seq_length)
    for name, environment in (("plain", PLAIN_ARITHMETIC), ("native", {})):
        subprocess.run(
            [sys.executable, "-c", code, str(prompted_model.directory), str(tmp_path / f"{name}.npy")],
            env=environment_of_children(**environment),
            check=True,
        )
    golden = Golden.from_bytes((compiled[0].output / "mini/golden.json").read_bytes(), dimension=32)
    assert golden.vectors.tobytes() == np.load(tmp_path / "plain.npy").tobytes()
    # The control: where a processor can do more, it makes a difference.
    if {"avx2", "avx512f"} & set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split()):
        assert golden.vectors.tobytes() != np.load(tmp_path / "native.npy").tobytes()


def test_a_record_of_another_release_is_no_result(compiled: tuple[Project, BuildReport], another: Project) -> None:
    record = built_of(compiled[0]).record
    assert record is not None
    place = another.store / "records" / record.derivation.hex
    document = json.loads(place.read_bytes())
    assert gathering.find_compiled(Store(another.store), record.derivation) is not None
    place.write_bytes(json.dumps({**document, "version": 99}).encode())
    assert gathering.find_compiled(Store(another.store), record.derivation) is None
