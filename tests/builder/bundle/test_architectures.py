"""Which models with code of their own transformers has itself: configurations in the shape of the published ones."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.published_configs import ARCTIC_LONG, ARCTIC_M_V2, GTE_EN, GTE_MULTILINGUAL, NOMIC, Config
from thoth_models_builder.bundle.architectures import native_form, without_auto_map
from thoth_models_builder.errors import UnsupportedModelError


def own(model_type: str, reference: str, **values: Any) -> Config:
    """Return the configuration of a model with code of its own."""
    return {"model_type": model_type, "auto_map": {"AutoModel": reference}, **values}


# --- the same model ---


@pytest.mark.parametrize("config", [NOMIC, ARCTIC_LONG], ids=["nomic-embed-text-v1.5", "arctic-embed-m-long"])
def test_nomic_bert_is_read_by_the_names_of_transformers(config: Config) -> None:
    form = native_form(config)
    assert form is not None
    kept = {key: value for key, value in config.items() if key != "auto_map"}
    assert form.config == {
        **kept,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "layer_norm_eps": 1e-12,
        "hidden_act": "silu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": 8192,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0},
    }
    assert without_auto_map(config) == form.config


def test_arctic_embed_m_v2_is_gte() -> None:
    form = native_form(ARCTIC_M_V2)
    assert form is not None
    assert form.config["rope_parameters"] == {"rope_type": "default", "rope_theta": 160000.0}
    assert not {"auto_map", "rope_theta", "rope_scaling"} & form.config.keys()


@pytest.mark.parametrize(
    ("config", "theta", "factor"),
    [(GTE_MULTILINGUAL, 160_000.0, 8 ** (1 / 32)), (GTE_EN, 1_000_000.0, 2 ** (1 / 32))],
    ids=["gte-multilingual-base", "gte-base-en-v1.5"],
)
def test_the_gte_family_is_renamed_and_its_positions_are_stretched_once(
    config: Config, theta: float, factor: float
) -> None:
    form = native_form(config)
    assert form is not None
    assert form.config["model_type"] == "gte"
    assert form.config["rope_parameters"] == {"rope_type": "linear", "rope_theta": theta, "factor": factor}


def test_every_entry_has_a_reason_and_a_public_source() -> None:
    for config in (NOMIC, ARCTIC_M_V2, GTE_EN):
        form = native_form(config)
        assert form is not None
        assert form.reason
        assert form.source.startswith("https://")
        assert form.code.endswith(config["auto_map"]["AutoModel"].rpartition("--")[2])


def test_positions_that_are_stretched_by_the_batch_need_the_length_from_which_on() -> None:
    config = {**NOMIC, "rotary_scaling_factor": 2}
    assert native_form(config) is not None
    with pytest.raises(UnsupportedModelError, match="`max_trained_positions`: expected a positive integer, found None"):
        without_auto_map({**config, "max_trained_positions": None})


def test_a_model_without_code_stays_as_it_is() -> None:
    config = {"model_type": "bert", "hidden_size": 384}
    assert without_auto_map(config) == config
    assert without_auto_map({**config, "auto_map": {}}) == config
    assert native_form(config) is None


def test_a_model_whose_auto_map_was_deleted_is_read_as_with_it() -> None:
    """transformers would ignore the keys of GPT-2, and take its own defaults for the sizes."""
    deleted = {key: value for key, value in NOMIC.items() if key != "auto_map"}
    assert without_auto_map(deleted) == without_auto_map(NOMIC)
    with pytest.raises(UnsupportedModelError, match=r"`causal`: expected False, .*, found True"):
        without_auto_map({**deleted, "causal": True})
    # A file that transformers wrote has its own keys, whatever remains of the others.
    written = {**deleted, "hidden_size": 512}
    assert without_auto_map(written) == written


# --- another model, although it loads ---


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            own("bert", "jinaai/jina-bert-implementation--modeling_bert.JinaBertModel"),
            "bert of transformers is another model, with learned positions where this one has ALiBi",
        ),
        (
            own("qwen2", "modeling_qwen.Qwen2Model", architectures=["Qwen2ForCausalLM"], is_causal=False),
            "qwen2 of transformers is another model, whose tokens see only those before them",
        ),
        (
            own("xlm-roberta", "jinaai/xlm-roberta-flash-implementation--modeling_lora.XLMRobertaLoRA"),
            "xlm-roberta of transformers is another model, with learned positions and without this one's adapters",
        ),
        (
            own("NVEmbed", "modeling_nvembed.NVEmbedModel"),
            "found modeling_nvembed.NVEmbedModel, code",
        ),
        # stella's file has that name, and is another one.
        (
            {**GTE_EN, "auto_map": {"AutoModel": "modeling.NewModel"}},
            "found modeling.NewModel, code",
        ),
        ({**GTE_EN, "model_type": "bert"}, "which is not among those"),
        (
            {**NOMIC, "auto_map": {"AutoModel": "someone/else--modeling_hf_nomic_bert.NomicBertModel"}},
            "found someone/else--modeling_hf_nomic_bert.NomicBertModel",
        ),
        ({**NOMIC, "auto_map": {"AutoConfig": "configuration.Config"}}, "found one that names code"),
        (
            {**NOMIC, "auto_map": "modeling_hf_nomic_bert.NomicBertModel"},
            "found one that names code",
        ),
    ],
    ids=["jina-v2", "gte-qwen2", "jina-v3", "nv-embed", "stella", "type", "repository", "config-only", "malformed"],
)
def test_code_beyond_the_reviewed_list_is_refused_by_name(config: Config, says: str) -> None:
    assert native_form(config) is None
    with pytest.raises(UnsupportedModelError) as refused:
        without_auto_map(config)
    assert says in str(refused.value)
    assert "list its files under `code` in models.yaml" in str(refused.value)


@pytest.mark.parametrize(
    ("config", "key", "value"),
    [
        # nomic-embed-text-v2-moe has the same model_type and the same code.
        (NOMIC, "num_experts", 8),
        (NOMIC, "moe_every_n_layers", 2),
        (NOMIC, "activation_function", "gelu"),
        (NOMIC, "qkv_proj_bias", True),
        (NOMIC, "mlp_fc1_bias", True),
        (NOMIC, "mlp_fc2_bias", True),
        (NOMIC, "prenorm", True),
        (NOMIC, "parallel_block", True),
        (NOMIC, "causal", True),
        (NOMIC, "use_rms_norm", True),
        (NOMIC, "rotary_emb_fraction", 0.5),
        (NOMIC, "rotary_emb_interleaved", True),
        (NOMIC, "rotary_emb_scale_base", 512),
        (NOMIC, "attn_pdrop", 0.1),
        (NOMIC, "n_inner", 3000),
        (NOMIC, "n_embd", None),
        (NOMIC, "vocab_size", 30522),
        (GTE_EN, "position_embedding_type", "absolute"),
        (GTE_EN, "layer_norm_type", "rms_norm"),
        (GTE_EN, "logn_attention_scale", True),
        (GTE_EN, "pack_qkv", False),
        (GTE_EN, "rope_scaling", {"type": "ntk", "factor": 2.0, "mixed_b": 0.625}),
        (GTE_EN, "rope_scaling", {"type": "dynamic", "factor": 2.0}),
        (GTE_EN, "rope_scaling", {"type": "ntk", "factor": 0.5}),
        (GTE_EN, "rope_theta", "many"),
        (GTE_EN, "vocab_size", None),
    ],
)
def test_a_value_that_transformers_would_not_read_is_refused_by_name(config: Config, key: str, value: object) -> None:
    changed = {**config, key: value}
    assert native_form(changed) is None
    with pytest.raises(UnsupportedModelError, match=f"config.json: `{key}`: expected "):
        without_auto_map(changed)
    assert native_form(config) is not None


@pytest.mark.parametrize("key", ["activation_function", "rotary_emb_fraction", "qkv_proj_bias", "attn_pdrop"])
def test_a_key_whose_default_is_another_must_be_stated(key: str) -> None:
    with pytest.raises(UnsupportedModelError, match=f"`{key}`: expected .* found nothing"):
        without_auto_map({name: value for name, value in NOMIC.items() if name != key})
