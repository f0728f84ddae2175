"""The small files of models, the keys that the builder reads of each, and what `lock` does with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.support.projects import as_json, model_files, spec_of
from tests.support.published_configs import GTE_EN, NOMIC
from thoth_models_builder.bundle.configure import configure, notes_on
from thoth_models_builder.bundle.describe import describe, read_modules
from thoth_models_builder.bundle.kinds import refuse_other_kinds
from thoth_models_builder.bundle.published.repairs import with_repairs
from thoth_models_builder.bundle.published.tokenizers import refuse_tokens_beyond_rows, refuse_without_tokenizer
from thoth_models_builder.bundle.space_of import space_of

if TYPE_CHECKING:
    from tests.support.described import Files
    from thoth_models_builder.bundle.model_files import ModelFiles

USUAL: Final = model_files("x")
WIDE: Final = model_files("x", dimension=768)
HEADER: Final = as_json({"embeddings": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]}})
BASES: Final[dict[str, Files]] = {
    "usual": USUAL,
    "nomic": {**WIDE, "config.json": as_json({**NOMIC, "max_position_embeddings": 64})},
    "gte": {**WIDE, "config.json": as_json(GTE_EN)},
    "static": {
        "modules.json": as_json([{"name": "0", "path": ".", "type": "sentence_transformers.models.StaticEmbedding"}]),
        "config.json": as_json({"model_type": "model2vec"}),
        "model.safetensors": len(HEADER).to_bytes(8, "little") + HEADER + bytes(32),
        "tokenizer.json": b"{}",
        "config_sentence_transformers.json": b"{}",
    },
}
KEYS: Final = {
    "config.json": (
        *(
            "model_type",
            "architectures",
            "auto_map",
            "max_position_embeddings",
            "n_positions",
            "pad_token_id",
            "d_model",
        ),
        *(
            "position_biased_input",
            "rope_parameters",
            "rope_theta",
            "rope_scaling",
            "quantization_config",
            "hidden_size",
        ),
        *("quantization", "vision_config", "id2label", "num_labels", "n_embd", "n_inner", "n_head", "vocab_size"),
        *("rotary_emb_base", "layer_norm_epsilon", "type_vocab_size", "pad_vocab_size_multiple", "num_attention_heads"),
        *("rotary_scaling_factor", "max_trained_positions", "transformers_weights", "num_experts"),
    ),
    "config_sentence_transformers.json": (
        *("prompts", "default_prompt_name", "similarity_fn_name", "truncate_dim", "model_type"),
    ),
    "sentence_bert_config.json": (
        *("max_seq_length", "model_args", "tokenizer_args", "modality_config", "transformer_task", "do_lower_case"),
    ),
    "1_Pooling/config.json": (
        *(
            "pooling_mode",
            "word_embedding_dimension",
            "embedding_dimension",
            "include_prompt",
            "pooling_mode_cls_token",
        ),
    ),
    "tokenizer_config.json": ("tokenizer_class", "model_max_length", "added_tokens_decoder", "auto_map", "vocab_file"),
    "tokenizer.json": ("model", "added_tokens"),
    "adapter_config.json": ("base_model_name_or_path", "peft_type"),
    "added_tokens.json": ("<a>",),
    "modules.json": ("type", "name", "path"),
}
"""The keys that the builder reads, by the file that they are in; those of modules.json are in each of its entries."""


def described(files: ModelFiles, pooling: str | None) -> None:
    """Do what ``lock`` does with the small files of a model."""
    model = spec_of({"mini": {"sources": [{"directory": "mini"}], **({"pooling": pooling} if pooling else {})}})
    refuse_other_kinds(files.digests, files, has_pooling=pooling is not None)
    first = read_modules(with_repairs(files))[0] if "modules.json" in files.digests else None
    refuse_without_tokenizer(files.digests, "" if first is None else first.directory, files)
    configuration = configure(files, model.models["mini"])
    facts = describe(configuration.files)
    refuse_tokens_beyond_rows(configuration.files, "", is_static=first is not None and first.kind == "StaticEmbedding")
    notes_on(model.models["mini"], facts)
    space_of(configuration.files, facts, normalize=True)
