"""Shapes whose first module is a decoder: Mistral, Gemma, Qwen. See :mod:`tests.zoo.shapes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.zoo import tokenizers
from tests.zoo.encoders import save_encoder
from tests.zoo.writing import WIDTH

if TYPE_CHECKING:
    from tests.zoo.writing import Repository

LONG = 160
"""Longest input of those whose prompts are sentences: their tiny tokenizers make about as many tokens as letters."""
POSITIONS = 256

E5_MISTRAL_PROMPT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "


def e5_mistral(repository: Repository) -> None:
    count = tokenizers.sentencepiece_bpe(
        repository,
        48,
        special=("<unk>", "<s>", "</s>"),
        template="<s> $A </s>",
        tokenizer_class="LlamaTokenizer",
        names={"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"},
        settings={"add_bos_token": True, "add_eos_token": True, "legacy": True, "sp_model_kwargs": {}},
        prefix=True,
    )
    config = {
        "architectures": ["MistralModel"],
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": WIDTH,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "max_position_embeddings": POSITIONS,
        "model_type": "mistral",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "pad_token_id": 2,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "sliding_window": 32,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "transformers_version": "4.34.0",
        "use_cache": False,
        "vocab_size": count,
    }
    save_encoder(repository, config, 40, dtype="float16", sharded=True)
    repository.standard("lasttoken", max_seq_length=LONG, normalize=True, flags=6, include_prompt=True)
    repository.library(
        ("2.7.0.dev0", "4.37.2", "2.1.0+cu121"),
        prompts={
            "web_search_query": E5_MISTRAL_PROMPT,
            "sts_query": "Instruct: Retrieve semantically similar text.\nQuery: ",
        },
    )


def bge_gemma2(repository: Repository) -> None:
    count = tokenizers.sentencepiece_bpe(
        repository,
        48,
        special=("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"),
        template="<bos> $A <eos>",
        tokenizer_class="GemmaTokenizer",
        names={"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"},
        settings={"add_bos_token": True, "add_eos_token": True, "sp_model_kwargs": {}},
        added=("<instruct>", "<query>"),
    )
    config = {
        "architectures": ["Gemma2Model"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": 50.0,
        "bos_token_id": 2,
        "cache_implementation": "hybrid",
        "eos_token_id": 1,
        "final_logit_softcapping": 30.0,
        "head_dim": 8,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": WIDTH,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "max_position_embeddings": POSITIONS,
        "model_type": "gemma2",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        "query_pre_attn_scalar": 8,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
        "sliding_window": 16,
        "sliding_window_size": 16,
        "torch_dtype": "float32",
        "transformers_version": "4.42.3",
        "use_cache": True,
        "vocab_size": count,
    }
    save_encoder(repository, config, 41, sharded=True, zero_centred_norms=True)
    repository.standard("lasttoken", max_seq_length=LONG, normalize=True, flags=6, include_prompt=True)
    repository.library(
        ("3.0.1", "4.42.3", "2.2.1"),
        prompts={
            "web_search_query": "<instruct>Given a web search query, retrieve relevant passages that answer the "
            "query.\n<query>",
            "sts_query": "<instruct>Retrieve semantically similar text.\n<query>",
        },
        similarity_fn_name=None,
    )


QWEN_SPECIAL = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}


def qwen3_config(count: int, **more: Any) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": count - 1,
        "eos_token_id": count - 1,
        "head_dim": 8,
        "hidden_act": "silu",
        "hidden_size": WIDTH,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "max_position_embeddings": POSITIONS,
        "max_window_layers": 2,
        "model_type": "qwen3",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.51.3",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": count + 5,
        **more,
    }


def _qwen3(repository: Repository, seed: int, *, sharded: bool, **more: Any) -> None:
    """No sentence_bert_config.json: the maximum is that of the positions."""
    count = tokenizers.byte_bpe(
        repository,
        131072,
        special=QWEN_SPECIAL,
        template="$A <|endoftext|>",
        tokenizer_class="Qwen2Tokenizer",
        padding_side="left",
        settings={"add_bos_token": False, "errors": "replace", "split_special_tokens": False, "unk_token": None},
    )
    save_encoder(repository, qwen3_config(count, **more), seed, dtype="bfloat16", sharded=sharded)
    repository.standard("lasttoken", max_seq_length=None, normalize=True, flags=6, include_prompt=True)
    repository.library(
        None,
        prompts={
            "query": "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
            "document": "",
        },
        similarity_fn_name="cosine",
    )


def qwen3(repository: Repository) -> None:
    _qwen3(repository, 42, sharded=False)


def qwen3_sharded(repository: Repository) -> None:
    _qwen3(repository, 43, sharded=True, tie_word_embeddings=False)


def embeddinggemma(repository: Repository) -> None:
    count = tokenizers.sentencepiece_bpe(
        repository,
        48,
        special=("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_image>"),
        template="<bos> $A <eos>",
        tokenizer_class="GemmaTokenizer",
        names={"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"},
        settings={
            "add_bos_token": True,
            "add_eos_token": True,
            "boi_token": "<start_of_image>",
            "sp_model_kwargs": None,
        },
    )
    config = {
        "_sliding_window_pattern": 3,
        "architectures": ["Gemma3TextModel"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": None,
        "bos_token_id": 2,
        "dtype": "float32",
        "eos_token_id": 1,
        "final_logit_softcapping": None,
        "head_dim": 8,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": WIDTH,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "max_position_embeddings": 64,
        "model_type": "gemma3_text",
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 1,
        "pad_token_id": 0,
        "query_pre_attn_scalar": 8,
        "rms_norm_eps": 1e-06,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": 16,
        "transformers_version": "4.57.0.dev0",
        "use_bidirectional_attention": True,
        "use_cache": True,
        "vocab_size": count,
    }
    save_encoder(repository, config, 44, zero_centred_norms=True)
    # It has no row, and is for images, which this model does not take.
    repository.json("added_tokens.json", {"<image_soft_token>": count})
    steps = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"), ("3_Dense", "Dense"))
    repository.modules(*steps, ("4_Normalize", "Normalize"))
    repository.pooling("mean_tokens", flags=6, include_prompt=True)
    repository.dense("2_Dense", (WIDTH, 4 * WIDTH), 44, bias=False)
    repository.dense("3_Dense", (4 * WIDTH, WIDTH), 45, bias=False)
    repository.json("sentence_bert_config.json", {"max_seq_length": 48, "do_lower_case": False})
    repository.library(
        ("5.2.0.dev0", "4.57.0.dev0", "2.8.0"),
        prompts={
            "query": "task: search result | query: ",
            "document": "title: none | text: ",
            "BitextMining": "task: search result | query: ",
            "Clustering": "task: clustering | query: ",
            "Classification": "task: classification | query: ",
            "Retrieval-query": "task: search result | query: ",
            "Retrieval-document": "title: none | text: ",
            "STS": "task: sentence similarity | query: ",
        },
        similarity_fn_name="cosine",
        model_type="SentenceTransformer",
    )
