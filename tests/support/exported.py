"""Every kind of tiny model that is exported, and what an export makes of one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.support import tiny_models

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.tiny_models import TinyModel

POOLING_MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


def _static_and_dense(directory: Path) -> TinyModel:
    from sentence_transformers.base.modules import Dense, Normalize

    model = tiny_models.make_static_model(directory, [Dense(32, 16), Normalize()])
    return replace(model, has_normalize=True, dimension=16)


MAKERS: dict[str, Callable[[Path], TinyModel]] = {
    "wordpiece": tiny_models.make_wordpiece_model,
    "unigram": tiny_models.make_unigram_model,
    "prompts": tiny_models.make_prompted_model,
    "bfloat16": tiny_models.make_half_model,
    "float16": partial(tiny_models.make_half_model, precision="float16"),
    "all poolings": partial(tiny_models.make_pooled_model, pooling=POOLING_MODES),
    "all poolings without prompt": partial(tiny_models.make_pooled_model, pooling=POOLING_MODES, include_prompt=False),
    "layers": tiny_models.make_layered_model,
    "truncated": tiny_models.make_truncated_model,
    "do_lower_case": tiny_models.make_lowercasing_model,
    "static": tiny_models.make_static_model,
    "static float16": partial(tiny_models.make_static_model, precision="float16"),
    "static and dense": _static_and_dense,
    **{encoder: partial(tiny_models.make_encoder_model, encoder=encoder) for encoder in tiny_models.ENCODERS},
}
"""Every kind of model that is exported, by name."""


@dataclass(frozen=True)
class Exported:
    """A tiny model, and the directory with ``raw.onnx``, ``model.onnx`` and the tokenizer's files."""

    model: TinyModel
    directory: Path

    def plain(self) -> Any:
        return self.model.plain(model_kwargs={"dtype": "float32"}).float()
