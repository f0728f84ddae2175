"""In which number formats weights may be stored, and what else a checkpoint has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import tiny_models
from tests.support.checkpoints import change_weights, found_faults, make_headed_model, without
from thoth_models.backends.checkpoint.formats import _Weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.tiny_models import TinyModel

pytestmark = pytest.mark.torch

WRONG_FORMATS = {"I8": "int8", "U8": "uint8", "BOOL": "bool", "I16": "int16", "I32": "int32", "I64": "int64"} | {
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
"""Number formats that are none of weights, and what torch calls them."""


def changed(model: TinyModel, directory: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    copied = without(model, directory, "no tensor has this name")
    change_weights(copied.directory / "model.safetensors", change)
    return copied.directory


@pytest.mark.hostile
@pytest.mark.parametrize("kind", WRONG_FORMATS)
def test_weights_are_floating_point_numbers_of_16_bits_or_more(
    wordpiece_model: TinyModel, tmp_path: Path, kind: str
) -> None:
    import torch

    layer, table = "encoder.layer.1.attention.output.dense.weight", "embeddings.word_embeddings.weight"
    dtype = getattr(torch, WRONG_FORMATS[kind])
    directory = changed(
        wordpiece_model,
        tmp_path / "model",
        # One named as in a checkpoint of the whole architecture, with the name of the base model before it.
        lambda tensors: {
            (f"bert.{name}" if name == table else name): tensor.to(dtype) if name in (layer, table) else tensor
            for name, tensor in tensors.items()
        },
    )
    expected = "model.safetensors: expected weights as BF16, F16, F32, F64, found 2: "
    assert found_faults(directory) == [f"{expected}bert.{table} as {kind}, {layer} as {kind}"]


def test_weights_of_half_and_double_precision_are_accepted(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    import torch

    layers = {"encoder.layer.0": torch.bfloat16, "encoder.layer.1": torch.float64, "embeddings": torch.float16}

    def stored(tensors: dict[str, Any]) -> dict[str, Any]:
        dtypes = {name: layers.get(name.partition(".attention")[0], torch.float16) for name in tensors}
        return {name: tensor.to(dtypes[name]) for name, tensor in tensors.items()}

    assert found_faults(changed(wordpiece_model, tmp_path / "model", stored)) == []


def test_positions_and_masks_keep_their_integers(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    """As older checkpoints have them, in which the library finds no place for them."""
    import torch

    directory = changed(
        wordpiece_model,
        tmp_path / "model",
        lambda tensors: {**tensors, "bert.embeddings.position_ids": torch.arange(40)},
    )
    assert found_faults(directory) == []
    headed = make_headed_model(tmp_path / "gpt2", "GPT2LMHeadModel")
    mask = torch.ones(1, 1, 40, 40, dtype=torch.uint8)
    change_weights(headed / "model.safetensors", lambda tensors: {**tensors, "transformer.h.0.attn.bias": mask})
    assert found_faults(headed) == []


@pytest.mark.hostile
def test_a_weight_that_is_named_like_what_the_library_ignores_is_a_weight(tmp_path: Path) -> None:
    """``attn.bias`` is ignored in a GPT-2, as a regular expression that is also found in ``c_attn.bias``."""
    import torch

    directory = make_headed_model(tmp_path / "gpt2", "GPT2LMHeadModel")
    name = "transformer.h.0.attn.c_attn.bias"
    change_weights(directory / "model.safetensors", lambda tensors: {**tensors, name: tensors[name].to(torch.uint8)})
    (fault,) = found_faults(directory)
    assert fault.endswith(f"found 1: {name} as U8")


def test_shards_in_another_directory_are_weights_too(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    name = "encoder.layer.0.output.dense.weight"
    directory = changed(
        wordpiece_model, tmp_path / "model", lambda tensors: {**tensors, name: tensors[name].to(torch.uint8)}
    )
    (directory / "shards").mkdir()
    names = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").rename(directory / "shards/one.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "shards/one.safetensors")}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    (fault,) = found_faults(directory)
    assert fault.startswith("shards/one.safetensors: expected weights as ")
    assert fault.endswith(f"found 1: {name} as U8")


@pytest.mark.parametrize("kind", ["Dense", "LayerNorm"])
def test_weights_of_other_modules_are_floating_point_numbers_too(tmp_path: Path, kind: str) -> None:
    import torch
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import LayerNorm

    module = Dense(32, 16) if kind == "Dense" else LayerNorm(32)
    directory = tiny_models.make_pooled_model(tmp_path / "model", "mean", more=[module]).directory
    assert found_faults(directory) == []
    (file,) = directory.glob(f"*_{kind}/model.safetensors")
    name = "linear.weight" if kind == "Dense" else "norm.weight"
    change_weights(file, lambda tensors: {**tensors, name: tensors[name].to(torch.bool)})
    assert found_faults(directory) == [
        f"{file.parent.name}/model.safetensors: expected weights as BF16, F16, F32, F64, found 1: {name} as BOOL"
    ]


@pytest.mark.parametrize("name", ["embeddings", "weights", "mapping"])
def test_static_weights_are_floating_point_numbers_and_the_mapping_is_not(tmp_path: Path, name: str) -> None:
    import torch

    directory = tiny_models.make_static_model(tmp_path / "model").directory
    (file,) = directory.rglob("*.safetensors")

    def stored(tensors: dict[str, Any]) -> dict[str, Any]:
        rows = tensors["embedding.weight"]
        every = {"embeddings": rows, "weights": rows[:, 0].contiguous(), "mapping": torch.arange(len(rows))}
        return {**every, name: every[name].to(torch.int64)}

    change_weights(file, stored)
    place = file.relative_to(directory).as_posix()
    wrong = [f"{place}: expected weights as BF16, F16, F32, F64, found 1: {name} as I64"]
    assert found_faults(directory) == ([] if name == "mapping" else wrong)


@pytest.mark.parametrize(
    ("name", "is_weight"),
    [
        ("layer.weight", True),
        ("model.layer.weight", True),
        ("scale", True),
        ("mask", False),
        ("model.mask", False),
        ("places", False),
        ("a_name_before_it_is_renamed", True),
        ("more_mask", True),
    ],
)
def test_integers_are_those_that_the_module_has(name: str, *, is_weight: bool) -> None:
    import torch

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)
            self.register_buffer("scale", torch.ones(1))
            self.register_buffer("mask", torch.ones(1, dtype=torch.bool))
            self.register_buffer("places", torch.arange(2), persistent=False)

    weights = _Weights.of(Module())
    assert weights.may_be(name, "BOOL") is not is_weight
    assert weights.may_be(name, "BF16")
