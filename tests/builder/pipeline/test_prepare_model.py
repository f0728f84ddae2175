"""What a model of a bundle is made of, where it is taken from, and what is left to the compiler."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import make_writable
from tests.support.projects import FAST, Recorder, as_json, contents, model_files, write_files
from thoth_models.bundle.accuracy import Accuracy
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models_builder.bundle.compose_manifest import compose
from thoth_models_builder.bundle.derivation import Derived, cache_key, toolchain
from thoth_models_builder.bundle.write_tree import write_bundle
from thoth_models_builder.errors import AccuracyError, CompilerUnavailableError, UnsupportedModelError
from thoth_models_builder.pipeline import prepare_model
from thoth_models_builder.pipeline.fetch import FetchContext
from thoth_models_builder.pipeline.inputs import read_lock, read_spec
from thoth_models_builder.pipeline.prepare_model import Compiling, Gathered, gather, is_compiled_now
from thoth_models_builder.spec.models_yaml import BundleSpec
from thoth_models_builder.spec.plan import plan_models
from thoth_models_builder.storage.store import Store

if TYPE_CHECKING:
    from tests.support.hub_simulator import HubSimulator
    from tests.support.projects import Project
    from thoth_models.verification.verify import VerificationReport
    from thoth_models_builder.spec.plan import PlannedModel

BUNDLE = BundleSpec(name="test-bundle", default="mini")
FIGURES = Accuracy(minimum_cosine=1.0, mean_cosine=1.0, largest_difference=0.0, neighbour_agreement=1.0)


class Submitted:
    """A compiler that keeps what it is given."""

    def __init__(self) -> None:
        self.jobs: dict[str, Any] = {}

    def submit(self, name: str, job: Any, places: Any, *, key: Digest, toolchain: Any) -> None:
        self.jobs[name] = (job, dict(places), key, toolchain)


@pytest.fixture(autouse=True)
def _libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about what is given to the compiler, and need none of its libraries."""
    monkeypatch.setattr("thoth_models_builder.bundle.derivation._version", lambda name: f"{name} 1")


@pytest.fixture
def proved(project: Project) -> Project:
    """A project with one model that is to be compiled, locked."""
    write_files(project.root / "model", model_files("mini"))
    project.specify({"mini": {"sources": [{"directory": "model"}], "golden": True, "variants": ["torch-fp32"]}})
    project.lock()
    return project


def planned(project: Project) -> PlannedModel:
    (model,) = plan_models(read_spec(project.file), read_lock(project.lock_file), None, "models.lock")
    return model


def context_of(project: Project) -> FetchContext:
    return FetchContext(store=Store(project.store), base=project.root, limits=FAST, watcher=Recorder())


def key_of(model: PlannedModel) -> Digest:
    contents = {file.path: ContentDigest(size=file.size, sha256=file.sha256) for file in model.locked.files}
    return cache_key(contents, model.spec.variants, toolchain(model.spec.variants), model.spec.source_settings())


def derived(model: PlannedModel, **changes: Any) -> Derived:
    made = Derived(
        files={"golden.json": ContentDigest(size=4, sha256=Digest.of(b"gold"))},
        golden="golden.json",
        variants=("torch-fp32",),
        omitted={},
        derivation=key_of(model),
        toolchain={"torch": "1"},
        accuracy={"torch-fp32": FIGURES},
    )
    return replace(made, **changes)


def test_what_was_not_compiled_yet_is_given_to_the_compiler(proved: Project) -> None:
    compiler, model, context = Submitted(), planned(proved), context_of(proved)
    with context.store.in_use():
        assert is_compiled_now(model, None, context.store)
        part = gather(model, None, context, compiler)  # type: ignore[arg-type]
    assert isinstance(part, Compiling)
    job, places, key, _ = compiler.jobs["mini"]
    assert (job.variants, job.dimension, job.max_seq_length) == (("torch-fp32",), 8, 16)
    assert set(places) == set(job.source) == {file.path for file in model.locked.files}
    assert key == key_of(model)


def test_what_the_compiler_made_is_gated_and_lies_in_the_store(proved: Project) -> None:
    model, context = planned(proved), context_of(proved)
    with context.store.in_use():
        part = gather(model, None, context, Submitted())  # type: ignore[arg-type]
    assert isinstance(part, Compiling)
    gathered = part.gathered(derived(model), context.store)
    assert gathered.origins["golden.json"] == "compiled"
    assert gathered.places["golden.json"] == context.store.path(Digest.of(b"gold"))
    assert gathered.inputs.derived is not None
    assert gathered.inputs.derived.gates.keys() == {"torch-fp32"}
    spoiled = derived(model, accuracy={"torch-fp32": replace(FIGURES, minimum_cosine=0.5)})
    with pytest.raises(AccuracyError, match="torch-fp32: expected a minimum cosine of"):
        part.gathered(spoiled, context.store)


def test_what_the_store_has_is_not_compiled(proved: Project) -> None:
    compiler, model, context = Submitted(), planned(proved), context_of(proved)
    with context.store.in_use():
        with context.store.writer("golden.json", digest=Digest.of(b"gold"), size=4) as writer:
            writer.write(b"gold")
            writer.finish()
        context.store.write_record(key_of(model), derived(model).to_bytes())
        assert not is_compiled_now(model, None, context.store)
        part = gather(model, None, context, compiler)  # type: ignore[arg-type]
    assert isinstance(part, Gathered)
    assert part.origins["golden.json"] == "store"
    assert compiler.jobs == {}


def test_a_model_without_golden_vectors_needs_no_compiler(local: Project) -> None:
    compiler, model, context = Submitted(), planned(local), context_of(local)
    with context.store.in_use():
        assert not is_compiled_now(model, None, context.store)
        part = gather(model, None, context, compiler)  # type: ignore[arg-type]
    assert isinstance(part, Gathered)
    assert part.inputs.derived is None
    assert compiler.jobs == {}


def test_a_lock_without_the_tokenizer_is_not_built(local: Project) -> None:
    """As an earlier release wrote it where a tokenizer.json lay in another directory."""
    model = planned(local)
    left = tuple(file for file in model.locked.files if file.path not in ("tokenizer.json", "vocab.txt"))
    older = replace(model, locked=replace(model.locked, files=left))
    context = context_of(local)
    with context.store.in_use(), pytest.raises(UnsupportedModelError) as refused:
        gather(older, None, context, Submitted())  # type: ignore[arg-type]
    assert str(refused.value).startswith(f"{model.name}: tokenizer.json: expected a tokenizer (")


def test_libraries_that_are_missing_are_named_when_they_are_needed(
    proved: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: object) -> None:
        raise CompilerUnavailableError("expected the libraries that compile models, found no torch")

    monkeypatch.setattr(prepare_model, "toolchain", missing)
    model, context = planned(proved), context_of(proved)
    # Not before the sources were asked: a model that they do not deliver needs no compiler.
    with context.store.in_use():
        assert not is_compiled_now(model, None, context.store)
        with pytest.raises(CompilerUnavailableError):
            gather(model, None, context, Submitted())  # type: ignore[arg-type]


# --- configured files ---

SETTINGS = "sentence_bert_config.json"
GRAPH = "onnx-fp32/model.onnx"


def put(store: Store, path: str, data: bytes) -> ContentDigest:
    with store.writer(path, digest=Digest.of(data), size=len(data)) as writer:
        writer.write(data)
        return writer.finish()


def specify(project: Project, **keys: Any) -> PlannedModel:
    """Lock a model for the dot product, whose own word on unit length is not in a manifest."""
    files = model_files("mini")
    files["modules.json"] = as_json(json.loads(files["modules.json"])[:2])
    files["config_sentence_transformers.json"] = as_json({"similarity_fn_name": "dot"})
    write_files(project.root / "model", files)
    facts = {"sources": [{"directory": "model"}], "golden": True, "variants": ["onnx-fp32"]}
    project.specify({"mini": {**facts, **keys}})
    project.lock()
    return planned(project)


def test_the_compiler_gets_the_configured_files(project: Project) -> None:
    model, compiler, context = specify(project, max_seq_length=9), Submitted(), context_of(project)
    with context.store.in_use():
        part = gather(model, None, context, compiler)  # type: ignore[arg-type]
    assert isinstance(part, Compiling)
    job, places, key, _ = compiler.jobs["mini"]
    assert job.max_seq_length == 9
    assert json.loads(places[SETTINGS].read_bytes())["max_seq_length"] == 9
    assert job.source[SETTINGS].sha256 == Digest.of(places[SETTINGS].read_bytes())
    assert job.source.keys() == places.keys() == {file.path for file in model.locked.files}
    assert [file.path for file in part.configured] == [SETTINGS]
    # The locked files are the same with another key, and what is compiled from them is not.
    assert key == key_of(model) != key_of(specify(project, max_seq_length=8))


def bundle_of(project: Project, model: PlannedModel) -> VerificationReport:
    """Build a bundle of the model with a graph that the compiler is said to have made."""
    context = context_of(project)
    with context.store.in_use():
        part = gather(model, None, context, Submitted())  # type: ignore[arg-type]
        assert isinstance(part, Compiling)
        files = {path: put(context.store, path, path.encode()) for path in ("golden.json", GRAPH)}
        made = derived(model, files=files, variants=model.spec.variants)
        accuracy = dict.fromkeys(model.spec.variants, FIGURES)
        gathered = part.gathered(replace(made, variants=tuple(made.variants), accuracy=accuracy), context.store)
        manifest = compose(BUNDLE, [model], {"mini": gathered.inputs})
        places = {f"mini/{path}": place for path, place in gathered.places.items()}
        return replace(write_bundle(manifest, places.__getitem__, project.output), root=project.output)


@pytest.mark.parametrize("normalize", [True, False, "auto"])
@pytest.mark.parametrize("variants", [["onnx-fp32"], ["onnx-fp32", "torch-fp32"]])
def test_a_bundle_without_the_originals_is_kept_without_fetching_them(
    project: Project, normalize: object, variants: list[str]
) -> None:
    model = specify(project, max_seq_length=9, normalize=normalize, variants=variants)
    previous = bundle_of(project, model)
    shutil.rmtree(project.root / "model")
    context = context_of(project)
    context.store.path(Digest.of(model_files("mini")["model.safetensors"])).unlink()
    if normalize != "auto":
        # Only what the model itself says of unit length is read from small files.
        make_writable(project.store)
        shutil.rmtree(project.store)
    with context.store.in_use():
        part = gather(model, previous, context, Submitted())  # type: ignore[arg-type]
    assert isinstance(part, Gathered)
    assert context.attempts == []
    assert set(part.origins.values()) == {"the bundle that was there"}
    again = compose(BUNDLE, [model], {"mini": part.inputs})
    assert again.to_bytes() == previous.manifest.to_bytes()
    assert {f"mini/{path}" for path in part.places} == previous.manifest.files.keys()


@pytest.mark.parametrize(
    ("before", "after", "expected"), [(False, "auto", False), (True, "auto", False), ("auto", True, True)]
)
def test_another_word_on_unit_length_is_not_kept(
    project: Project, before: object, after: object, *, expected: bool
) -> None:
    previous = bundle_of(project, specify(project, normalize=before))
    model, context = specify(project, normalize=after), context_of(project)
    with context.store.in_use():
        part = gather(model, previous, context, Submitted())  # type: ignore[arg-type]
    # Nothing is compiled again for it.
    assert isinstance(part, Gathered)
    built = compose(BUNDLE, [model], {"mini": part.inputs}).models["mini"].built
    assert built is not None
    assert built.normalize is expected


@pytest.mark.parametrize("variants", [["onnx-fp32"], ["onnx-fp32", "torch-fp32"]])
def test_what_is_known_by_the_name_of_a_source_is_compiled_anew(
    hub: HubSimulator, project: Project, variants: list[str]
) -> None:
    previous = bundle_of(project, specify(project, variants=variants, normalize=False))
    hub.add_model("hkunlp/instructor-large", contents(project.root / "model"))
    named = [{"hub": "hkunlp/instructor-large"}, {"directory": "model"}]
    model = specify(project, variants=variants, normalize=False, sources=named)
    compiler, context = Submitted(), context_of(project)
    with context.store.in_use():
        assert is_compiled_now(model, previous, context.store)
        part = gather(model, previous, context, compiler)  # type: ignore[arg-type]
    assert isinstance(part, Compiling)
    before = previous.manifest.models["mini"].built
    assert before is not None
    assert (before.pooling, part.facts.pooling) == ("mean", "mean without prompt")
    assert part.space != before.space
    assert compiler.jobs["mini"][2] != key_of(model)  # which is that of the same files without the name
