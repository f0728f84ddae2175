"""Shapes whose first module is an encoder of the BERT family, of T5, or rows. See :mod:`tests.zoo.shapes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.zoo import tokenizers
from tests.zoo.writing import WIDTH, Repository, keys_of_class, position_ids, random_tensors

if TYPE_CHECKING:
    from collections.abc import Callable

TANH = "torch.nn.modules.activation.Tanh"


def bert_config(vocabulary: int, positions: int, **more: Any) -> dict[str, Any]:
    """Return the config.json of a BERT as transformers 4 wrote it; None removes a key."""
    values = {
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "gradient_checkpointing": False,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": WIDTH,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": positions,
        "model_type": "bert",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "transformers_version": "4.8.2",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": vocabulary,
        **more,
    }
    return {key: value for key, value in values.items() if value is not None}


def roberta_config(vocabulary: int, positions: int, **more: Any) -> dict[str, Any]:
    """Return the config.json of a RoBERTa or XLM-R; positions begin behind that of padding."""
    values = {
        "architectures": ["XLMRobertaModel"],
        "bos_token_id": 0,
        "classifier_dropout": None,
        "eos_token_id": 2,
        "layer_norm_eps": 1e-05,
        "model_type": "xlm-roberta",
        "output_past": True,
        "pad_token_id": 1,
        "type_vocab_size": 1,
    }
    return bert_config(vocabulary, positions, **{**values, **more})


def save_encoder(
    repository: Repository,
    config: dict[str, Any],
    seed: int,
    *,
    dtype: str = "float32",
    model_class: str | None = None,
    file: str = "model.safetensors",
    with_position_ids: bool = False,
    rename: Callable[[str], str | None] = lambda name: name,
    sharded: bool = False,
    zero_centred_norms: bool = False,
) -> None:
    """Write config.json and the weights of the architecture that transformers has for it."""
    import transformers as untyped_transformers

    transformers: Any = untyped_transformers
    repository.json("config.json", config)
    configuration = transformers.AutoConfig.for_model(**keys_of_class(config))
    kind = getattr(transformers, model_class) if model_class else transformers.AutoModel
    model = kind._from_config(configuration) if model_class else kind.from_config(configuration)
    tensors = random_tensors(model, seed, dtype=dtype, rename=rename, zero_centred_norms=zero_centred_norms)
    if with_position_ids:
        tensors["embeddings.position_ids"] = position_ids(config["max_position_embeddings"])
    if sharded:
        repository.shards(tensors)
    else:
        repository.weights(tensors, file)


# --- BERT ---


def minilm(repository: Repository) -> None:
    count = tokenizers.wordpiece(repository, 64, called_with=32)
    save_encoder(repository, bert_config(count, 64), 1, with_position_ids=True)
    repository.standard("mean_tokens", max_seq_length=48, normalize=True)
    repository.library(("2.0.0", "4.6.1", "1.8.1"))


def bert_mean(repository: Repository) -> None:
    count = tokenizers.wordpiece(repository, 64)
    save_encoder(repository, bert_config(count, 64), 2, with_position_ids=True)
    repository.standard("mean_tokens", max_seq_length=48)


def bert_mean_dot(repository: Repository) -> None:
    count = tokenizers.wordpiece(repository, 64)
    save_encoder(repository, bert_config(count, 64), 3, with_position_ids=True)
    repository.standard("mean_tokens", max_seq_length=64)


def e5(repository: Repository) -> None:
    count = tokenizers.wordpiece(repository, 64)
    save_encoder(repository, bert_config(count, 64, torch_dtype="float32"), 4, with_position_ids=True)
    repository.standard("mean_tokens", max_seq_length=64, normalize=True)


def bge(repository: Repository) -> None:
    count = tokenizers.wordpiece(repository, 64)
    config = bert_config(count, 64, id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0}, torch_dtype="float32")
    save_encoder(repository, config, 5, with_position_ids=True)
    repository.standard("cls_token", max_seq_length=64, normalize=True, lower=True)
    repository.library(("2.2.2", "4.28.1", "1.13.0+cu117"))


def gte_float16(repository: Repository) -> None:
    count = tokenizers.wordpiece(repository, 64)
    config = bert_config(count, 64, torch_dtype="float16")
    save_encoder(repository, config, 6, dtype="float16", with_position_ids=True)
    repository.standard("mean_tokens", max_seq_length=64, normalize=True)


def mxbai(repository: Repository) -> None:
    count = tokenizers.wordpiece(repository, 64)
    config = bert_config(count, 64, torch_dtype="float16", use_cache=False)
    save_encoder(repository, config, 7, dtype="float16")
    repository.standard("cls_token", max_seq_length=64, flags=6, include_prompt=True)
    repository.library(
        ("2.7.0", "4.39.3", "2.1.0+cu121"),
        prompts={"query": "Represent this sentence for searching relevant passages: ", "passage": ""},
    )


def arctic(repository: Repository) -> None:
    count = tokenizers.wordpiece(repository, 64, settings={"max_length": 64, "stride": 0, "truncation_side": "right"})
    save_encoder(repository, bert_config(count, 64, torch_dtype="float32"), 8)
    repository.standard("cls_token", max_seq_length=64, normalize=True, flags=6, include_prompt=True)
    repository.library(
        ("2.7.0.dev0", "4.39.3", "2.1.0"),
        prompts={"query": "Represent this sentence for searching relevant passages: "},
    )


def rubert_tiny(repository: Repository) -> None:
    """The encoder below ``bert.``, with both heads of its training."""
    count = tokenizers.wordpiece(repository, 64, lower=False)
    config = bert_config(count, 64, architectures=["BertForPreTraining"], emb_size=WIDTH, torch_dtype="float32")
    save_encoder(repository, config, 9, model_class="BertForPreTraining")
    repository.standard("cls_token", max_seq_length=64, normalize=True)


def labse(repository: Repository) -> None:
    count = tokenizers.wordpiece(repository, 64, lower=False)
    config = bert_config(count, 64, directionality="bidi", pooler_fc_size=WIDTH, pooler_type="first_token_transform")
    save_encoder(repository, config, 10, with_position_ids=True)
    repository.standard("cls_token", max_seq_length=48)
    repository.modules(
        ("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"), ("3_Normalize", "Normalize")
    )
    repository.dense("2_Dense", (WIDTH, WIDTH), 10, activation=TANH)


def bert_unigram(repository: Repository) -> None:
    count = tokenizers.unigram(repository, 64)
    save_encoder(repository, bert_config(count, 64), 11, with_position_ids=True)
    repository.standard("mean_tokens", max_seq_length=48)


def e5_unigram(repository: Repository) -> None:
    count = tokenizers.unigram(repository, 64, settings={"sp_model_kwargs": {}})
    config = bert_config(count, 64, tokenizer_class="XLMRobertaTokenizer", torch_dtype="float32")
    save_encoder(repository, config, 12, with_position_ids=True)
    repository.standard("mean_tokens", max_seq_length=64, normalize=True)


def contriever(repository: Repository) -> None:
    """A plain repository of transformers: no modules.json, and weights as a pickle."""
    count = tokenizers.wordpiece(repository, 64)
    config = bert_config(count, 64, architectures=["Contriever"])
    save_encoder(repository, config, 13, file="pytorch_model.bin", with_position_ids=True)


def simcse(repository: Repository) -> None:
    count = tokenizers.wordpiece(repository, 64, fast=False)
    save_encoder(repository, bert_config(count, 64), 14, file="pytorch_model.bin", with_position_ids=True)


# --- its relatives ---


def mpnet_config(count: int, positions: int) -> dict[str, Any]:
    more = {"architectures": ["MPNetForMaskedLM"], "bos_token_id": 0, "eos_token_id": 2, "layer_norm_eps": 1e-05}
    own = {**more, "model_type": "mpnet", "pad_token_id": 1, "relative_attention_num_buckets": 32}
    dropped = {"position_embedding_type": None, "type_vocab_size": None, "use_cache": None}
    return bert_config(count, positions, **own, **dropped)


def mpnet(repository: Repository) -> None:
    count = tokenizers.mpnet(repository, 64)
    save_encoder(repository, mpnet_config(count, 66), 15, with_position_ids=True)
    repository.standard("mean_tokens", max_seq_length=48, normalize=True)


def mpnet_dot(repository: Repository) -> None:
    count = tokenizers.mpnet(repository, 64)
    save_encoder(repository, mpnet_config(count, 66), 16, with_position_ids=True)
    repository.standard("cls_token", max_seq_length=64)


def distilbert_config(count: int, positions: int) -> dict[str, Any]:
    return {
        "activation": "gelu",
        "architectures": ["DistilBertModel"],
        "attention_dropout": 0.1,
        "dim": WIDTH,
        "dropout": 0.1,
        "hidden_dim": 64,
        "initializer_range": 0.02,
        "max_position_embeddings": positions,
        "model_type": "distilbert",
        "n_heads": 4,
        "n_layers": 2,
        "pad_token_id": 0,
        "qa_dropout": 0.1,
        "seq_classif_dropout": 0.2,
        "sinusoidal_pos_embds": False,
        "tie_weights_": True,
        "vocab_size": count,
    }


def distiluse(repository: Repository) -> None:
    count = tokenizers.wordpiece(repository, 64, lower=False, tokenizer_class="DistilBertTokenizer")
    save_encoder(repository, distilbert_config(count, 64), 17)
    repository.standard("mean_tokens", max_seq_length=48)
    repository.modules(("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"))
    repository.dense("2_Dense", (WIDTH, 24), 17, activation=TANH)
    repository.dense("2_Dense", (WIDTH, 24), 17, activation=TANH, pickled=True)


def tas_b(repository: Repository) -> None:
    count = tokenizers.wordpiece(repository, 64, tokenizer_class="DistilBertTokenizer")
    save_encoder(repository, distilbert_config(count, 64), 18)
    repository.standard("cls_token", max_seq_length=64)


ROBERTA_SPECIAL = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
    "cls_token": "<s>",
    "sep_token": "</s>",
}


def distilroberta(repository: Repository) -> None:
    count = tokenizers.byte_bpe(
        repository, 64, special=ROBERTA_SPECIAL, template="", tokenizer_class="RobertaTokenizer", roberta=True
    )
    config = roberta_config(count, 66, architectures=["RobertaModel"], model_type="roberta", output_past=None)
    save_encoder(repository, config, 19, with_position_ids=True)
    repository.standard("mean_tokens", max_seq_length=64, normalize=True)


def roberta_wordpiece(repository: Repository) -> None:
    """RoBERTa's positions under BERT's tokenizer, whose special tokens have other numbers than usual."""
    special = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
    count = tokenizers.wordpiece(repository, 64, special=special, lower=False)
    config = roberta_config(
        count, 66, architectures=["RobertaModel"], model_type="roberta", tokenizer_class="BertTokenizer"
    )
    save_encoder(repository, config, 20, with_position_ids=True)
    repository.standard("mean_tokens", max_seq_length=48)


def camembert(repository: Repository) -> None:
    count = tokenizers.unigram(repository, 64, fast=False, tokenizer_class="XLMRobertaTokenizer")
    save_encoder(repository, roberta_config(count, 66, output_past=None), 21, with_position_ids=True)
    repository.standard("mean_tokens", max_seq_length=64)


def phobert(repository: Repository) -> None:
    count = tokenizers.phobert(repository, 64)
    config = roberta_config(
        count, 66, architectures=["RobertaModel"], model_type="roberta", tokenizer_class="PhobertTokenizer"
    )
    save_encoder(repository, config, 22, file="pytorch_model.bin", with_position_ids=True)
    repository.standard("mean_tokens", max_seq_length=48)


# --- XLM-R ---


def xlmr_mean(repository: Repository) -> None:
    count = tokenizers.unigram(repository, 64)
    save_encoder(repository, roberta_config(count, 66), 23, with_position_ids=True)
    repository.standard("mean_tokens", max_seq_length=48)


def e5_xlmr(repository: Repository) -> None:
    count = tokenizers.unigram(repository, 64, settings={"sp_model_kwargs": {}})
    save_encoder(repository, roberta_config(count, 66, torch_dtype="float32"), 24, with_position_ids=True)
    repository.standard("mean_tokens", max_seq_length=64, normalize=True)


def e5_instruct(repository: Repository) -> None:
    count = tokenizers.unigram(repository, 64, settings={"sp_model_kwargs": {}})
    save_encoder(repository, roberta_config(count, 66, torch_dtype="float16"), 25, dtype="float16")
    repository.standard("mean_tokens", max_seq_length=64, normalize=True)
    repository.library(("2.4.0.dev0", "4.37.0", "2.1.0+cu121"))


def bge_m3(repository: Repository) -> None:
    """Weights as a pickle alone, beside pickles for the sparse and the late-interaction vectors."""
    import torch

    count = tokenizers.unigram(repository, 72, settings={"sp_model_kwargs": {}})
    config = roberta_config(count, 74, torch_dtype="float32", transformers_version="4.33.0")
    save_encoder(repository, config, 26, file="pytorch_model.bin")
    repository.standard("cls_token", max_seq_length=72, normalize=True)
    repository.library(("2.2.2", "4.33.0", "2.1.2+cu121"))
    repository.weights({"weight": torch.ones(WIDTH, WIDTH), "bias": torch.zeros(WIDTH)}, "colbert_linear.pt")
    repository.weights({"weight": torch.ones(1, WIDTH), "bias": torch.zeros(1)}, "sparse_linear.pt")


def arctic_l_v2(repository: Repository) -> None:
    count = tokenizers.unigram(repository, 72, sentencepiece=False, settings={"max_length": 48, "stride": 0})
    save_encoder(repository, roberta_config(count, 74, torch_dtype="float32", transformers_version="4.39.0"), 27)
    repository.standard("cls_token", max_seq_length=72, normalize=True, flags=6, include_prompt=True)
    repository.library(("3.3.1", "4.47.0.dev0", "2.4.0"), prompts={"query": "query: "}, similarity_fn_name="cosine")


def granite(repository: Repository) -> None:
    """bfloat16, and no config_sentence_transformers.json."""
    count = tokenizers.unigram(repository, 64)
    config = roberta_config(count, 66, torch_dtype="bfloat16", transformers_version="4.20.1")
    save_encoder(repository, config, 34, dtype="bfloat16", with_position_ids=True)
    repository.standard("cls_token", max_seq_length=64, normalize=True)


# --- ModernBERT ---

_MODERNBERT_SPECIAL = {
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "mask_token": "[MASK]",
}


def _modernbert(repository: Repository, seed: int, dtype: str) -> None:
    """Four layers, so that there are some with a window, which is narrower than the longest text, and some without."""
    count = tokenizers.byte_bpe(
        repository,
        72,
        special=_MODERNBERT_SPECIAL,
        template="[CLS] $A [SEP]",
        tokenizer_class="PreTrainedTokenizerFast",
        slow_files=False,
        settings={"model_input_names": ["input_ids", "attention_mask"], "clean_up_tokenization_spaces": True},
    )
    numbers = {"pad_token_id": count - 2, "bos_token_id": count - 4, "cls_token_id": count - 4}
    config = {
        "architectures": ["ModernBertModel"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "classifier_activation": "gelu",
        "classifier_bias": False,
        "classifier_dropout": 0.0,
        "classifier_pooling": "mean",
        "decoder_bias": True,
        "deterministic_flash_attn": False,
        "embedding_dropout": 0.0,
        "eos_token_id": count - 3,
        "global_attn_every_n_layers": 3,
        "global_rope_theta": 160000.0,
        "gradient_checkpointing": False,
        "hidden_activation": "gelu",
        "hidden_size": WIDTH,
        "initializer_cutoff_factor": 2.0,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "layer_norm_eps": 1e-05,
        "local_attention": 16,
        "local_rope_theta": 10000.0,
        "max_position_embeddings": 72,
        "mlp_bias": False,
        "mlp_dropout": 0.0,
        "model_type": "modernbert",
        "norm_bias": False,
        "norm_eps": 1e-05,
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
        "position_embedding_type": "absolute",
        "reference_compile": False,
        "repad_logits_with_grad": False,
        "sep_token_id": count - 3,
        "sparse_pred_ignore_index": -100,
        "sparse_prediction": False,
        "torch_dtype": dtype,
        "transformers_version": "4.48.0",
        "vocab_size": count,
        **numbers,
    }
    save_encoder(repository, config, seed, dtype=dtype)


def gte_modernbert(repository: Repository) -> None:
    _modernbert(repository, 28, "float16")
    repository.standard("cls_token", max_seq_length=None, flags=6, include_prompt=True)
    repository.library(("3.3.1", "4.48.0", "2.5.1"), prompts={}, similarity_fn_name="cosine")


def modernbert_embed(repository: Repository) -> None:
    _modernbert(repository, 29, "float32")
    repository.standard("mean_tokens", max_seq_length=72, normalize=True, flags=6, include_prompt=True)
    repository.library(("3.3.1", "4.48.0.dev0", "2.5.1"), prompts={}, similarity_fn_name="cosine")


# --- T5 ---


def _t5(repository: Repository, seed: int, *, fast: bool, dtype: str, pickled: bool) -> None:
    count = tokenizers.t5(repository, 48, fast=fast)
    config = {
        "architectures": ["T5EncoderModel"],
        "d_ff": 64,
        "d_kv": 8,
        "d_model": WIDTH,
        "decoder_start_token_id": 0,
        "dropout_rate": 0.1,
        "eos_token_id": 1,
        "feed_forward_proj": "relu",
        "gradient_checkpointing": False,
        "initializer_factor": 1.0,
        "is_encoder_decoder": True,
        "layer_norm_epsilon": 1e-06,
        "model_type": "t5",
        "n_positions": 64,
        "num_decoder_layers": 2,
        "num_heads": 4,
        "num_layers": 2,
        "output_past": True,
        "pad_token_id": 0,
        "relative_attention_num_buckets": 32,
        "torch_dtype": dtype,
        "transformers_version": "4.11.3",
        "use_cache": True,
        "vocab_size": count + 8,
    }
    save_encoder(
        repository,
        config,
        seed,
        dtype=dtype,
        model_class="T5EncoderModel",
        file="pytorch_model.bin" if pickled else "model.safetensors",
    )
    repository.standard("mean_tokens", max_seq_length=48)
    repository.modules(
        ("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"), ("3_Normalize", "Normalize")
    )
    repository.dense("2_Dense", (WIDTH, WIDTH), seed, bias=False, pickled=pickled)
    repository.library(("2.2.0", "4.7.0", "1.9.0+cu102"))


def sentence_t5(repository: Repository) -> None:
    _t5(repository, 30, fast=True, dtype="float16", pickled=False)


def instructor(repository: Repository) -> None:
    _t5(repository, 31, fast=True, dtype="float32", pickled=True)


# --- rows ---


def static_retrieval(repository: Repository) -> None:
    import torch

    place = Repository(repository.directory / "0_StaticEmbedding")
    count = tokenizers.wordpiece(place, 64)
    for extra in ("vocab.txt", "special_tokens_map.json", "tokenizer_config.json"):
        (place.directory / extra).unlink()
    rows = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(32))
    place.weights({"embedding.weight": rows})
    repository.modules(("0_StaticEmbedding", "StaticEmbedding"))
    repository.library(("3.3.0.dev0", "4.45.2", "2.5.0"), prompts={}, similarity_fn_name="cosine")


def potion(repository: Repository) -> None:
    """Model2Vec: everything at the top, under the path ``.``."""
    import torch

    count = tokenizers.wordpiece(repository, 64)
    for extra in ("vocab.txt", "special_tokens_map.json", "tokenizer_config.json"):
        (repository.directory / extra).unlink()
    rows = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(33))
    repository.weights({"embeddings": rows})
    repository.json(
        "config.json",
        {
            "model_type": "model2vec",
            "architectures": ["StaticModel"],
            "tokenizer_name": "baai/bge-base-en-v1.5",
            "apply_pca": 256,
            "apply_zipf": True,
            "hidden_dim": WIDTH,
            "seq_length": 1000000,
            "normalize": True,
        },
    )
    repository.modules((".", "StaticEmbedding"), ("1_Normalize", "Normalize"))
