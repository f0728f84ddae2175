"""How the compiler loads a model: what it refuses, before anything is computed, and in every build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.bundles import make_writable
from tests.support.checkpoints import change_weights, make_unmarked_model, with_token, without
from tests.support.compiled import ALL, LOW
from tests.support.projects import Project
from tests.support.tiny_models import make_layered_model
from thoth_models import InvalidInputError, load_embedding
from thoth_models.bundle.golden import Golden
from thoth_models_builder.errors import UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.tiny_models import TinyModel

pytestmark = [pytest.mark.torch, pytest.mark.onnx]


def loads() -> list[Callable[[Path], object]]:
    """Return both ways in which the compiler loads: for golden vectors, and for the graph."""
    from thoth_models_builder.compile.export import load_reference
    from thoth_models_builder.compile.reference import Reference

    return [Reference, load_reference]


def assert_refused(directory: Path, message: str) -> None:
    from thoth_models_builder.compile.errors import UnusableModelError

    for load in loads():
        with pytest.raises(UnusableModelError, match=message):
            load(directory)


def test_a_whole_model_is_loaded_in_fp32(half_model: TinyModel) -> None:
    import torch

    from thoth_models_builder.compile.loading.load_checked import load_checked

    model = load_checked(half_model.directory)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training


@pytest.mark.hostile
def test_code_does_not_run_outside_of_the_sandbox(half_model: TinyModel) -> None:
    from thoth_models_builder.compile.errors import SandboxError
    from thoth_models_builder.compile.loading.load_checked import load_checked

    with pytest.raises(SandboxError, match="loaded in the sandbox, found a process without one"):
        load_checked(half_model.directory, runs_code=True)


@pytest.mark.hostile
def test_a_missing_tensor_is_refused_by_name(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    lost = without(wordpiece_model, tmp_path / "model", "layer.1.attention.self.key.weight")
    assert_refused(lost.directory, r"found none for 1: encoder\.layer\.1\.attention\.self\.key\.weight$")


@pytest.mark.hostile
def test_a_token_without_a_row_is_refused_by_name(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    model = with_token(wordpiece_model, tmp_path / "model", "[E1]")
    assert_refused(model.directory, r"found 1: '\[E1\]' with id \d+; a text with such a token has no vector$")


@pytest.mark.hostile
def test_a_missing_tensor_of_another_module_is_refused_by_name(tmp_path: Path) -> None:
    model = make_layered_model(tmp_path / "model")
    change_weights(
        model.directory / "2_Dense/model.safetensors",
        lambda tensors: {name: tensor for name, tensor in tensors.items() if name != "linear.bias"},
    )
    assert_refused(model.directory, r"^expected a model that sentence-transformers loads, .*Dense: .*\"linear\.bias\"$")


@pytest.mark.hostile
def test_files_that_the_library_cannot_read_are_refused(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    model = without(wordpiece_model, tmp_path / "model", "no tensor has this name")
    (model.directory / "model.safetensors").unlink()
    assert_refused(model.directory, r"^expected a model that sentence-transformers loads, found OSError: ")


@pytest.mark.hostile
@pytest.mark.unmeasured
def test_a_model_without_a_layer_is_refused_in_every_combination_of_variants(
    wordpiece_model: TinyModel, tmp_path: Path
) -> None:
    lost = without(wordpiece_model, tmp_path / "project/models/lost", "encoder.layer.1.")
    project = Project(tmp_path / "project")
    facts: dict[str, Any] = {"sources": [{"directory": "models/lost"}], "golden": True, "int8_floor": LOW}
    combinations = [[name] for name in ALL] + [ALL[:2], ALL]
    names = ["-".join(variants) for variants in combinations]
    project.specify({name: {**facts, "variants": chosen} for name, chosen in zip(names, combinations, strict=True)})
    project.lock()
    with pytest.raises(UnsupportedModelError) as caught:
        project.build()
    lines = str(caught.value).splitlines()
    assert sorted(line.partition(": ")[0] for line in lines) == sorted(names)
    assert all(line.count("encoder.layer.1.") == 16 for line in lines)
    assert not project.output.exists()
    # Nothing was computed: no step came to its end.
    assert not [call for call in project.watcher.steps.calls if call[0] == "end_step"]
    assert lost.directory.exists()


@pytest.mark.unmeasured
def test_a_model_without_a_vector_for_the_empty_text_is_built_in_all_variants(tmp_path: Path) -> None:
    model = make_unmarked_model(tmp_path / "project/models/mini")
    project = Project(tmp_path / "project")
    facts: dict[str, Any] = {"sources": [{"directory": "models/mini"}], "golden": True, "int8_floor": LOW}
    project.specify({"mini": {**facts, "variants": ALL, "normalize": False}})
    project.lock()
    project.build()
    golden = Golden.from_bytes((project.output / "mini/golden.json").read_bytes(), dimension=model.dimension)
    assert "" not in {f"{prompt}{text}" for prompt, text in zip(golden.prompts, golden.texts, strict=True)}
    assert " " in golden.texts
    texts = ["water", "a river", " "]
    expected = model.plain().encode(texts)
    for variant in ALL:
        embedding = load_embedding("mini", root=project.output, variants=[variant])
        found = embedding.encode(texts)
        if variant != "onnx-int8":
            assert np.abs(found - expected).max() < 1e-4
        with pytest.raises(InvalidInputError, match=r"^texts\[1\]: expected at least one token"):
            embedding.encode(["water", ""])
    make_writable(project.root)
