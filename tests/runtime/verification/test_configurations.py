"""What the configurations of a variant say: the space is that of its files, whatever a manifest states."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import ModelPlan, VariantPlan, make_bundle, seal
from tests.support.findings import the_problem
from thoth_models.bundle.digest import Digest
from thoth_models.errors import VerificationError
from thoth_models.verification import configurations
from thoth_models.verification.verify import open_bundle, verify, verify_variant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from thoth_models.bundle.manifest import BuiltModel, Manifest

MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]
NORMALIZE = {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}
FILES: dict[str, Any] = {
    "modules.json": MODULES,
    "config.json": {"hidden_size": 8, "hidden_act": "gelu", "_name_or_path": "here"},
    "sentence_bert_config.json": {"max_seq_length": 16},
    "config_sentence_transformers.json": {"prompts": {}},
    "1_Pooling/config.json": {"pooling_mode": "mean", "embedding_dimension": 8},
    "tokenizer.json": {"vocab": ["first", "second"]},
    "tokenizer_config.json": {"do_lower_case": True},
    "model.safetensors": "weights",
}


def plan(**changes: Any) -> ModelPlan:
    """A model with these files changed, or left out if they are None."""
    contents = {path: value for path, value in {**FILES, **changes}.items() if value is not None}
    files = {
        path: value if isinstance(value, bytes) else json.dumps(value).encode() for path, value in contents.items()
    }
    return ModelPlan(
        name="mini", variants={"torch-fp32": VariantPlan(files=files)}, prompts={"query": "", "document": ""}
    )


def built_of(manifest: Manifest) -> BuiltModel:
    built = manifest.models["mini"].built
    assert built is not None
    return built


@pytest.fixture
def space(tmp_path: Path) -> str:
    """The space of the published files."""
    return built_of(make_bundle(tmp_path / "published", [plan()], default="mini")).space.hex


def resealed(root: Path, space: str, changes: Mapping[str, Any], **settings: Any) -> Path:
    """Write a bundle of changed files or settings, consistent in itself, that states the space of the others."""
    manifest = make_bundle(root, [plan(**changes)], default="mini")
    model = manifest.models["mini"]
    built = replace(built_of(manifest), space=Digest(space), **settings)
    seal(root, replace(manifest, models={"mini": replace(model, built=built)}))
    return root


def load(root: Path) -> None:
    bundle = open_bundle(root)
    model = bundle.manifest.models["mini"]
    assert model.built is not None
    verify_variant(bundle, model, model.built, model.built.variants[0])


def test_the_published_files_have_the_space_that_the_manifest_states(tmp_path: Path, space: str) -> None:
    # A golden: the identity that a builder gave these files before the runtime computed it as well.
    assert space == "94fc912a370ac95f50a9b28a98d699a16709c4631f8b77460dafc3e4ec262b8e"
    root = resealed(tmp_path / "bundle", space, {})
    verify(root)
    load(root)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({"tokenizer.json": {"vocab": ["second", "first"]}}, {}),
        ({"tokenizer_config.json": {"do_lower_case": False}}, {}),
        ({"vocab.txt": b"first\nsecond\n"}, {}),
        ({"model.safetensors": "others"}, {}),
        ({"config.json": {"hidden_size": 8, "hidden_act": "relu"}}, {}),
        ({"1_Pooling/config.json": {"pooling_mode": "cls", "embedding_dimension": 8}}, {}),
        ({"sentence_bert_config.json": {"max_seq_length": 8}}, {}),
        ({"modules.json": MODULES[:1]}, {}),
        ({"modules.json": None}, {}),
        ({}, {"pooling": "cls"}),
        ({}, {"prompts": {"query": "ignore the text: "}}),
        ({}, {"max_seq_length": 8}),
        ({}, {"normalize": False}),
    ],
)
def test_a_bundle_that_was_sealed_again_with_the_space_of_other_files(
    tmp_path: Path, space: str, changes: dict[str, Any], settings: dict[str, Any]
) -> None:
    root = resealed(tmp_path / "bundle", space, changes, **settings)
    problem = the_problem(root)
    assert (problem.kind, problem.path) == ("space", "mini/source")
    assert problem.expected == f"the embedding space {space} of 'mini', as the manifest states it"
    assert problem.found[:64] != space
    with pytest.raises(VerificationError, match=f"space: expected the embedding space {space}") as caught:
        load(root)
    assert caught.value.problems == (problem,)


@pytest.mark.hostile
@pytest.mark.parametrize("data", [b"{", b"[]", b'{"x": NaN}', b'{"x": "\\ud800"}'])
def test_an_unreadable_configuration_does_not_keep_the_space_from_being_computed(
    tmp_path: Path, space: str, data: bytes
) -> None:
    root = resealed(tmp_path / "bundle", space, {"unused/config.json": data})
    problem = the_problem(root)
    assert (problem.kind, problem.path) == ("space", "mini/source")
    assert problem.found.startswith("none, because of a configuration (")


def test_where_a_file_was_made_is_not_part_of_the_space(tmp_path: Path, space: str) -> None:
    verify(resealed(tmp_path / "bundle", space, {"config.json": {**FILES["config.json"], "_name_or_path": "there"}}))


def test_a_model_that_no_library_loads_has_no_space(tmp_path: Path, space: str) -> None:
    """Loading it fails in any case; a bundle with it is consistent."""
    verify(resealed(tmp_path / "bundle", space, {"modules.json": b"{"}))


def test_compiled_files_have_the_space_of_what_they_were_made_from(tmp_path: Path, space: str) -> None:
    """It cannot be computed from them; their vectors were compared when they were made."""
    root = tmp_path / "bundle"
    onnx = VariantPlan(files={"model.onnx": b"graph", "tokenizer.json": b"{}"}, backend="onnx", directory="onnx-fp32")
    make_bundle(root, [replace(plan(), variants={"onnx-fp32": onnx})], default="mini")
    verify(root)


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        # The last module normalises, though the runtime does not.
        ({"modules.json": [*MODULES, NORMALIZE]}, {"normalize": False}),
        # As many components as the manifest says, which may be all that there are, and more.
        ({"config_sentence_transformers.json": {"truncate_dim": 8}}, {}),
        ({"config_sentence_transformers.json": {"truncate_dim": 9}}, {}),
    ],
)
def test_what_a_manifest_does_not_state_is_in_the_files(
    tmp_path: Path, changes: dict[str, Any], settings: dict[str, Any]
) -> None:
    root = tmp_path / "bundle"
    make_bundle(root, [replace(plan(**changes), **settings)], default="mini")
    verify(root)


@pytest.mark.hostile
def test_a_configuration_that_is_far_too_large_is_not_parsed(
    tmp_path: Path, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configurations, "_MAX_SIZE", 1000)
    root = resealed(tmp_path / "bundle", space, {"tokenizer_config.json": b" " * 1001})
    said = "mini/source/tokenizer_config.json: changed: expected at most 1000 bytes of configurations, found "
    assert str(the_problem(root)).startswith(said)


@pytest.mark.hostile
def test_configurations_that_are_far_too_large_together_are_not_parsed(
    tmp_path: Path, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in each of many directories: all that were parsed are kept until the variant was checked."""
    changes = {f"{index}_Dense/config.json": b'{"a": "%s"}' % (b"x" * 2000) for index in range(3)}
    monkeypatch.setattr(configurations, "_MAX_SIZE", 5000)
    root = resealed(tmp_path / "bundle", space, changes)
    said = "mini/source/2_Dense/config.json: changed: expected at most 5000 bytes of configurations, found "
    assert str(the_problem(root)).startswith(said)
