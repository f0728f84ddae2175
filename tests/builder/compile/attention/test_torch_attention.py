"""What the masks of transformers are recognised as, and which attention is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.long_models import LONG_MODELS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.tiny_models import TinyModel

pytestmark = [pytest.mark.torch, pytest.mark.onnx]


def _mask(name: str, *arguments: Any) -> Callable[..., Any]:
    from transformers import masking_utils

    made: Callable[..., Any] = getattr(masking_utils, name)
    return made(*arguments) if arguments else made


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("bidirectional_mask_function", (), (None, None)),
        ("causal_mask_function", (), (None, 0)),
        ("sliding_window_causal_mask_function", (4096,), (4095, 0)),
        ("sliding_window_bidirectional_mask_function", (64,), (64, 64)),
    ],
)
def test_each_mask_of_the_library_is_a_band(
    name: str, arguments: tuple[int, ...], expected: tuple[int | None, int | None]
) -> None:
    from thoth_models_builder.compile.attention.torch_attention import Band, band_of

    assert band_of(_mask(name, *arguments)) == Band(*expected)


@pytest.mark.parametrize("size", [128, 8_192, 12_000, 16_384, 32_768, 65_536])
def test_a_mask_of_chunks_is_refused(size: int) -> None:
    import torch

    from thoth_models_builder.compile.attention.torch_attention import UnsupportedAttentionError, band_of

    chunks = _mask("chunked_causal_mask_function", size, torch.zeros(1, dtype=torch.int64))
    with pytest.raises(UnsupportedAttentionError, match="the same band for every token"):
        band_of(chunks)


def test_a_model_keeps_its_attention(wordpiece_model: TinyModel) -> None:
    from thoth_models_builder.compile.attention.torch_attention import NAME, attention_of
    from thoth_models_builder.compile.export import load_reference

    model = load_reference(wordpiece_model.directory)
    transformer: Any = model[0].model
    with attention_of(model, NAME):
        assert transformer.config._attn_implementation == NAME
    assert transformer.config._attn_implementation == "eager"


def test_rotary_positions_are_one_node_only_within_the_context_and_in_their_usual_form(tmp_path: Path) -> None:
    import sys

    import torch

    from thoth_models_builder.compile.attention.torch_attention import rotation_of
    from thoth_models_builder.compile.export import load_reference

    model = load_reference(LONG_MODELS["qwen3"](tmp_path / "source"))
    module: Any = sys.modules[type(model[0].model).__module__]
    before = module.apply_rotary_pos_emb
    query, key = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 5, 8)
    angles = torch.randn(1, 5, 4).repeat(1, 1, 2)
    of_each_text = torch.randn(2, 5, 8)
    with rotation_of(model):
        rotate = module.apply_rotary_pos_emb
        assert rotate is not before
        for cosines, sines in ((angles.cos(), angles.sin()), (of_each_text.cos(), of_each_text.sin())):
            found, expected = rotate(query, key, cosines, sines), before(query, key, cosines, sines)
            assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert module.apply_rotary_pos_emb is before


def test_a_model_without_rotary_positions_is_left_as_it_is(wordpiece_model: TinyModel) -> None:
    from thoth_models_builder.compile.attention.torch_attention import rotation_of
    from thoth_models_builder.compile.export import load_reference

    with rotation_of(load_reference(wordpiece_model.directory)):
        pass
