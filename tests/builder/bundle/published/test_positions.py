"""How many tokens an architecture has positions for: configurations as published, and what transformers does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.published_configs import GTE_EN, NOMIC
from thoth_models_builder.bundle.published.positions import Positions, positions_of, refuse_beyond_positions
from thoth_models_builder.errors import UnsupportedModelError

Config = dict[str, Any]

XLM_R: Config = {"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
        ({"model_type": "distilbert", "max_position_embeddings": 512}, 512),
        ({"model_type": "gpt2", "n_positions": 1024}, 1024),
        (XLM_R, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 8194, "pad_token_id": 1}, 8192),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 130, "pad_token_id": 1}, 128),  # bertweet
        ({"model_type": "roberta", "max_position_embeddings": 258}, 256),  # phobert
        ({"model_type": "camembert", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        # transformers counts MPNet's from 1, whatever config.json says.
        ({"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 5}, 512),
        ({"model_type": "longformer", "max_position_embeddings": 4098, "pad_token_id": 1}, 4096),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 0}, 513),
        ({"model_type": "deberta-v2", "max_position_embeddings": 512}, 512),
    ],
)
def test_a_table_of_positions_is_a_limit(config: Config, tokens: int) -> None:
    limit = positions_of(config)
    assert limit is not None
    assert (limit.tokens, limit.is_table) == (tokens, True)
    refuse_beyond_positions(config, tokens)
    with pytest.raises(UnsupportedModelError) as refused:
        refuse_beyond_positions(config, tokens + 1)
    assert str(refused.value).startswith(
        f"max_seq_length: expected at most {tokens}, because {config['model_type']} has"
    )
    assert str(refused.value).endswith(f"found {tokens + 1}; state `max_seq_length: {tokens}` in models.yaml")


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "modernbert", "max_position_embeddings": 8192, "global_rope_theta": 160000.0},
        {"model_type": "qwen3", "max_position_embeddings": 32768, "rope_theta": 1000000},
        {"model_type": "an-unknown-one", "max_position_embeddings": 512, "rope_parameters": {"rope_theta": 1e4}},
        {"model_type": "t5", "n_positions": 512},
        {"model_type": "bloom", "max_position_embeddings": 2048},
        {"model_type": "deberta-v2", "max_position_embeddings": 512, "position_biased_input": False},
        {"model_type": "bert"},
        {"model_type": "bert", "max_position_embeddings": "many"},
        {"model_type": "roberta", "max_position_embeddings": 1},
        {**NOMIC, "max_position_embeddings": 2048},
        {**GTE_EN, "model_type": "gte"},
        {},
    ],
)
def test_computed_positions_are_none(config: Config) -> None:
    assert positions_of(config) is None
    refuse_beyond_positions(config, 100_000)


def test_of_an_architecture_that_is_not_known_more_is_refused_and_not_cut() -> None:
    config = {"model_type": "an-unknown-one", "max_position_embeddings": 512}
    reason = "its files state 512 positions (max_position_embeddings), and of an-unknown-one more is not known"
    assert positions_of(config) == Positions(tokens=512, reason=reason, is_table=False)
    with pytest.raises(UnsupportedModelError, match=r"found 513; state `max_seq_length: 512` in models\.yaml"):
        refuse_beyond_positions(config, 513)


def test_positions_that_depend_on_the_batch_are_refused_and_not_cut() -> None:
    config = {**NOMIC, "rotary_scaling_factor": 2}
    limit = positions_of(config)
    assert limit == Positions(
        tokens=2048,
        reason="beyond 2048 tokens its rotary_scaling_factor makes a vector depend on the texts beside it",
        is_table=False,
    )
    with pytest.raises(UnsupportedModelError, match=r"state `max_seq_length: 2048` in models.yaml"):
        refuse_beyond_positions(config, 8192)


@pytest.mark.torch
@pytest.mark.parametrize(
    "model_type", ["bert", "distilbert", "roberta", "xlm-roberta", "camembert", "mpnet", "t5", "gte"]
)
def test_transformers_has_as_many(model_type: str) -> None:
    import torch
    from transformers.models.auto.configuration_auto import AutoConfig
    from transformers.models.auto.modeling_auto import AutoModel
    from transformers.models.t5.modeling_t5 import T5EncoderModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    names = {"distilbert": {"dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 8}}
    names["t5"] = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    config = AutoConfig.for_model(model_type, vocab_size=50, max_position_embeddings=20, **names.get(model_type, sizes))
    model = (T5EncoderModel if model_type == "t5" else AutoModel.from_config)(config).eval()
    limit = positions_of(config.to_dict())
    with torch.no_grad():
        model(input_ids=torch.full((1, limit.tokens if limit else 200), 7))
        if limit is not None:
            with pytest.raises((IndexError, RuntimeError)):
                model(input_ids=torch.full((1, limit.tokens + 1), 7))
