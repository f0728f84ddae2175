"""The reviewed list, compared with what transformers reports about checkpoints of other heads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.checkpoints import HEADS, change_weights, found_faults, make_headed_model
from thoth_models.backends.checkpoint.unused import (
    IN_EXCESS,
    WITH_POOLER,
    may_be_in_excess,
    may_be_missing,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.torch
@pytest.mark.parametrize("head", HEADS)
def test_a_head_that_vectors_do_not_depend_on_is_no_fault_and_a_missing_layer_is(tmp_path: Path, head: str) -> None:
    directory = make_headed_model(tmp_path / "model", head)
    assert found_faults(directory) == []
    lost: list[str] = []

    def lose(tensors: dict[str, Any]) -> dict[str, Any]:
        # Of the last layer, or of the only one that ALBERT has.
        inner = [name for name in sorted(tensors) if re.search(r"(layers?|block|h)\.\d+\.", name)]
        inner = [name for name in inner if not name.startswith("decoder.")]
        lost.append(inner[-1])
        return {name: tensor for name, tensor in tensors.items() if name != lost[0]}

    change_weights(directory / "model.safetensors", lose)
    (fault,) = found_faults(directory)
    assert "expected weights for every tensor of the model, found none for 1: " in fault


def test_every_architecture_of_the_list_has_been_compared() -> None:
    """By the test above, which needs torch: this one fails where an architecture is added without a checkpoint."""
    families = {family.lower() for family, _ in HEADS.values()}
    listed = {name.replace("-", "").replace("_", "") for name in {*IN_EXCESS, *WITH_POOLER}}
    assert listed == families


@pytest.mark.parametrize(
    ("model_type", "tensor", "is_accepted"),
    [
        ("bert", "cls.predictions.decoder.weight", True),
        ("bert", "encoder.layer.12.output.dense.weight", False),
        ("bert", "clsx.predictions.bias", False),
        ("bert", "lm_head.bias", False),
        ("qwen2", "lm_head.weight", True),
        ("qwen2", "layers.0.lm_head.weight", False),
        ("deberta-v2", "lm_predictions.lm_head.dense.weight", True),
        ("unheard-of", "lm_head.weight", False),
    ],
)
def test_only_whole_names_of_the_same_architecture_are_listed(
    model_type: str, tensor: str, *, is_accepted: bool
) -> None:
    assert may_be_in_excess(model_type, tensor) is is_accepted


@pytest.mark.parametrize(
    ("model_type", "tensor", "takes_pooler_output", "is_accepted"),
    [
        ("bert", "pooler.dense.weight", False, True),
        ("bert", "pooler.dense.weight", True, False),
        ("albert", "pooler.bias", False, True),
        ("bert", "embeddings.LayerNorm.weight", False, False),
        ("modernbert", "pooler.dense.weight", False, False),
    ],
)
def test_a_pooler_may_be_missing_where_nothing_takes_its_output(
    model_type: str, tensor: str, *, takes_pooler_output: bool, is_accepted: bool
) -> None:
    assert may_be_missing(model_type, tensor, takes_pooler_output=takes_pooler_output) is is_accepted
