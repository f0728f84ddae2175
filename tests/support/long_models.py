"""Tiny models for long texts: each architecture with 4,096 positions, and each kind of mask that attention may have."""

from __future__ import annotations

import tempfile
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.support import tiny_models
from tests.support.tiny_models import DIMENSION

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOKENS = 4_096
"""Longest input of each of them."""

_SIZES = {
    "hidden_size": DIMENSION,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 600,
    "max_position_embeddings": TOKENS + 2,
}
_GROUPED = {"num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 1}
_MARKS = {"cls_token_id": 0, "pad_token_id": 1, "sep_token_id": 2, "bos_token_id": 0, "eos_token_id": 2}
_WINDOWED = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16}


def _make(directory: Path, architecture: str, settings: dict[str, Any], encoder: str, pooling: str = "mean") -> Path:
    """Write a model with random weights; ``encoder`` names the tokenizer of :mod:`tiny_models` that it has."""
    import torch
    import transformers as untyped_transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    transformers: Any = untyped_transformers
    tokenizer, _, _ = tiny_models._encoder_tokenizer(encoder)
    tokenizer.model_max_length = TOKENS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(21)
        configuration = getattr(transformers, f"{architecture}Config")(**{**_SIZES, **settings})
        model = getattr(transformers, f"{architecture}Model")(configuration)
    model.train(mode=False)
    with tempfile.TemporaryDirectory(prefix="long-model-") as checkpoint, tiny_models._no_progress():
        model.save_pretrained(checkpoint)
        tokenizer.save_pretrained(checkpoint)
        transformer = Transformer(checkpoint, max_seq_length=TOKENS, model_kwargs={"dtype": "float32"})
        modules = [transformer, Pooling(DIMENSION, pooling_mode=pooling)]
        SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(directory), create_model_card=False)
    return directory


LONG_MODELS: dict[str, Callable[[Path], Path]] = {
    "bert": partial(_make, architecture="Bert", settings={}, encoder="distilbert"),
    "xlm-roberta": partial(
        _make, architecture="XLMRoberta", settings={"pad_token_id": 1, "type_vocab_size": 1}, encoder="xlm-roberta"
    ),
    "nomic_bert": partial(_make, architecture="NomicBert", settings={}, encoder="distilbert"),
    "modernbert": partial(
        _make,
        architecture="ModernBert",
        settings={"num_hidden_layers": 4, "local_attention": 32, "global_attn_every_n_layers": 3, **_MARKS},
        encoder="modernbert",
    ),
    "qwen3": partial(_make, architecture="Qwen3", settings=_GROUPED, encoder="qwen3", pooling="lasttoken"),
    "qwen3 with a window": partial(
        _make,
        architecture="Qwen3",
        settings={**_GROUPED, **_WINDOWED, "use_sliding_window": True},
        encoder="qwen3",
        pooling="lasttoken",
    ),
    "gemma3": partial(
        _make,
        architecture="Gemma3Text",
        settings={**_GROUPED, **_WINDOWED, "num_key_value_heads": 1, "use_bidirectional_attention": True},
        encoder="modernbert",
    ),
    "bert 16 heads": partial(_make, architecture="Bert", settings={"num_attention_heads": 16}, encoder="distilbert"),
    "qwen3 16 heads": partial(
        _make,
        architecture="Qwen3",
        settings={**_GROUPED, "num_attention_heads": 16},
        encoder="qwen3",
        pooling="lasttoken",
    ),
}
"""What writes each model into a directory, and returns it."""
