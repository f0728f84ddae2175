"""Configurations in the shape of published models: the keys that the real config.json has."""

from __future__ import annotations

from typing import Any, Final

Config = dict[str, Any]

NOMIC_CODE: Final = "nomic-ai/nomic-bert-2048--"
NOMIC: Config = {
    "_name_or_path": "nomic-ai/nomic-embed-text-v1.5",
    "activation_function": "swiglu",
    "architectures": ["NomicBertModel"],
    "attn_pdrop": 0.0,
    "auto_map": {
        "AutoConfig": f"{NOMIC_CODE}configuration_hf_nomic_bert.NomicBertConfig",
        "AutoModel": f"{NOMIC_CODE}modeling_hf_nomic_bert.NomicBertModel",
        "AutoModelForMaskedLM": f"{NOMIC_CODE}modeling_hf_nomic_bert.NomicBertForPreTraining",
    },
    "bos_token_id": None,
    "causal": False,
    "dense_seq_output": True,
    "embd_pdrop": 0.0,
    "eos_token_id": None,
    "fused_bias_fc": True,
    "fused_dropout_add_ln": True,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-12,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "model_type": "nomic_bert",
    "n_embd": 768,
    "n_head": 12,
    "n_inner": 3072,
    "n_layer": 12,
    "n_positions": 8192,
    "pad_vocab_size_multiple": 64,
    "parallel_block": False,
    "parallel_block_tied_norm": False,
    "prenorm": False,
    "qkv_proj_bias": False,
    "reorder_and_upcast_attn": False,
    "resid_pdrop": 0.0,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "torch_dtype": "float32",
    "transformers_version": "4.37.2",
    "type_vocab_size": 2,
    "use_cache": True,
    "use_flash_attn": True,
    "use_rms_norm": False,
    "use_xentropy": True,
    "vocab_size": 30528,
}
ARCTIC_LONG: Config = {
    **NOMIC,
    "auto_map": {
        "AutoConfig": "configuration_hf_nomic_bert.NomicBertConfig",
        "AutoModel": "modeling_hf_nomic_bert.NomicBertModel",
    },
}
ARCTIC_M_V2: Config = {
    "architectures": ["GteModel"],
    "attention_probs_dropout_prob": 0.0,
    "auto_map": {
        "AutoConfig": "configuration_hf_alibaba_nlp_gte.GteConfig",
        "AutoModel": "modeling_hf_alibaba_nlp_gte.GteModel",
    },
    "classifier_dropout": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "layer_norm_type": "layer_norm",
    "logn_attention_clip1": False,
    "logn_attention_scale": False,
    "matryoshka_dimensions": [256],
    "max_position_embeddings": 8192,
    "model_type": "gte",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pack_qkv": True,
    "pad_token_id": 1,
    "position_embedding_type": "rope",
    "rope_scaling": None,
    "rope_theta": 160000,
    "type_vocab_size": 1,
    "unpad_inputs": "true",
    "use_memory_efficient_attention": "true",
    "vocab_size": 250048,
}
GTE_CODE: Final = "Alibaba-NLP/new-impl--"
GTE_MULTILINGUAL: Config = {
    **ARCTIC_M_V2,
    "architectures": ["NewModel", "NewForTokenClassification"],
    "auto_map": {
        "AutoConfig": f"{GTE_CODE}configuration.NewConfig",
        "AutoModel": f"{GTE_CODE}modeling.NewModel",
        "AutoModelForMaskedLM": f"{GTE_CODE}modeling.NewForMaskedLM",
        "AutoModelForSequenceClassification": f"{GTE_CODE}modeling.NewForSequenceClassification",
    },
    "model_type": "new",
    "rope_scaling": {"factor": 8.0, "type": "ntk"},
    "rope_theta": 20000,
    "unpad_inputs": False,
    "use_memory_efficient_attention": False,
}
GTE_EN: Config = {
    **GTE_MULTILINGUAL,
    "architectures": ["NewModel"],
    "rope_scaling": {"factor": 2.0, "type": "ntk"},
    "rope_theta": 500000,
    "type_vocab_size": 0,
    "vocab_size": 30528,
}
