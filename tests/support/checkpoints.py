"""Checkpoints as models are published: with the head of another task, without a part, with one too many.

And models whose tokenizer differs from what sentence-transformers expects of one.
"""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tests.support import tiny_models
from tests.support.tiny_models import DIMENSION, TinyModel
from thoth_models.backends.checkpoint.faults import faults
from thoth_models.backends.checkpoint.reports import load_reports

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_VOCABULARY: Final = 270
_SIZES: Final = {
    "vocab_size": _VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
_GROUPED: Final = {**_SIZES, "num_key_value_heads": 1, "head_dim": 8, "pad_token_id": 1}
_NARROW: Final = {**_SIZES, "embedding_size": 8}
_MARKS: Final = {"cls_token_id": 0, "pad_token_id": 1, "sep_token_id": 2, "bos_token_id": 0, "eos_token_id": 2}
_T5: Final = {
    "vocab_size": _VOCABULARY,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 2,
    "decoder_start_token_id": 0,
}
_UNTIED: Final = {**_T5, "tie_word_embeddings": False}
_DISTILLED: Final = {"vocab_size": _VOCABULARY, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24}
_DEBERTA: Final = {**_SIZES, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
_GPT2: Final = {"vocab_size": _VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40}
_GPT_NEO: Final = {
    "vocab_size": _VOCABULARY,
    "hidden_size": 16,
    "num_layers": 2,
    "num_heads": 2,
    "attention_types": [[["global", "local"], 1]],
    "tie_word_embeddings": False,
}

HEADS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "BertModel": ("Bert", _SIZES),
    "BertForMaskedLM": ("Bert", _SIZES),
    "BertForPreTraining": ("Bert", _SIZES),
    "RobertaForMaskedLM": ("Roberta", _SIZES),
    "XLMRobertaForMaskedLM": ("XLMRoberta", _SIZES),
    "CamembertForMaskedLM": ("Camembert", _SIZES),
    "MPNetForMaskedLM": ("MPNet", _SIZES),
    "LongformerForMaskedLM": ("Longformer", {**_SIZES, "attention_window": 4}),
    "DistilBertForMaskedLM": ("DistilBert", _DISTILLED),
    "ElectraForMaskedLM": ("Electra", _NARROW),
    "ElectraForPreTraining": ("Electra", _NARROW),
    "AlbertForMaskedLM": ("Albert", _NARROW),
    "AlbertForPreTraining": ("Albert", _NARROW),
    "DebertaForMaskedLM": ("Deberta", _SIZES),
    "DebertaV2ForMaskedLM": ("DebertaV2", _DEBERTA),
    "ModernBertForMaskedLM": ("ModernBert", {**_SIZES, **_MARKS}),
    "NomicBertForMaskedLM": ("NomicBert", _SIZES),
    "GteForMaskedLM": ("Gte", _SIZES),
    "EuroBertForMaskedLM": ("EuroBert", _GROUPED),
    "JinaEmbeddingsV3ForMaskedLM": ("JinaEmbeddingsV3", _SIZES),
    "MegatronBertForMaskedLM": ("MegatronBert", _SIZES),
    "ErnieForMaskedLM": ("Ernie", _SIZES),
    "RemBertForMaskedLM": ("RemBert", {**_SIZES, "input_embedding_size": 8}),
    "XLMRobertaXLForMaskedLM": ("XLMRobertaXL", _SIZES),
    "BigBirdForMaskedLM": ("BigBird", _SIZES),
    "T5EncoderModel": ("T5", _T5),
    "T5ForConditionalGeneration": ("T5", _UNTIED),
    "MT5ForConditionalGeneration": ("MT5", _UNTIED),
    "UMT5ForConditionalGeneration": ("UMT5", _UNTIED),
    "Qwen2ForCausalLM": ("Qwen2", {**_SIZES, "num_key_value_heads": 1}),
    "Qwen3ForCausalLM": ("Qwen3", _GROUPED),
    "MistralForCausalLM": ("Mistral", _GROUPED),
    "LlamaForCausalLM": ("Llama", _GROUPED),
    "Phi3ForCausalLM": ("Phi3", {**_SIZES, "num_key_value_heads": 1, "pad_token_id": 1}),
    "GemmaForCausalLM": ("Gemma", {**_GROUPED, "tie_word_embeddings": False}),
    "Gemma2ForCausalLM": ("Gemma2", {**_GROUPED, "tie_word_embeddings": False}),
    "Gemma3ForCausalLM": ("Gemma3Text", {**_GROUPED, "tie_word_embeddings": False}),
    "GPT2LMHeadModel": ("GPT2", {**_GPT2, "tie_word_embeddings": False}),
    "GPTNeoForCausalLM": ("GPTNeo", _GPT_NEO),
}
"""Classes of transformers that checkpoints are published of: the beginning of their configuration's name, and sizes."""


def make_headed_model(directory: Path, head: str) -> Path:
    """Write a checkpoint of the class ``head`` as a model directory with mean pooling; return the directory."""
    import torch
    import transformers as untyped_transformers

    transformers: Any = untyped_transformers
    family, sizes = HEADS[head]
    tokenizer = tiny_models._byte_tokenizer("$A <|endoftext|>", {"eos_token": "<|endoftext|>", "pad_token": "<|pad|>"})
    with torch.random.fork_rng(devices=[]), tiny_models._no_progress():
        torch.manual_seed(21)
        getattr(transformers, head)(getattr(transformers, f"{family}Config")(**sizes)).save_pretrained(directory)
        tokenizer.save_pretrained(directory)
    _add_pooling(directory, 16)
    return directory


def make_sentencepiece_model(directory: Path, family: str) -> TinyModel:
    """Write a model as XLM-R or T5 were published first: with a SentencePiece model, and without tokenizer.json.

    Args:
        directory: The directory to write.
        family: ``XLMRoberta`` or ``T5``.
    """
    import torch
    import transformers as untyped_transformers

    transformers: Any = untyped_transformers
    if family == "T5":
        name, special = "spiece.model", {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    else:
        name, special = "sentencepiece.bpe.model", {"unk_id": 0, "bos_id": 1, "eos_id": 2}
    directory.mkdir(parents=True)
    (directory / name).write_bytes(_sentencepiece(special))
    settings = {"tokenizer_class": f"{family}Tokenizer", "model_max_length": 40}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    sizes = _T5 if family == "T5" else {**_SIZES, "max_position_embeddings": 42, "pad_token_id": 1}
    with torch.random.fork_rng(devices=[]), tiny_models._no_progress():
        torch.manual_seed(23)
        configuration = getattr(transformers, f"{family}Config")(**{**sizes, "vocab_size": 400})
        kind = "T5EncoderModel" if family == "T5" else f"{family}Model"
        getattr(transformers, kind)(configuration).save_pretrained(directory)
    (directory / "sentence_bert_config.json").write_text('{"max_seq_length": 40}', encoding="utf-8")
    published: dict[str, Any] = {"similarity_fn_name": "cosine", "prompts": {}, "default_prompt_name": None}
    (directory / "config_sentence_transformers.json").write_text(json.dumps(published), encoding="utf-8")
    _add_pooling(directory, 16)
    return TinyModel(directory, max_seq_length=40, pooling="mean", has_normalize=False, dimension=16)


_MERGES: Final = (
    *("w a", "e r</w>", "t er</w>", "wa ter</w>", "r i", "v er</w>", "ri ver</w>"),
    *("q u", "i c", "qu ic", "l o"),
)
_PIECES: Final = (
    *("wa@@", "ter", "river", "qu@@", "lo@@"),
    *"abcdeghilmnorstuw?",
    *(f"{letter}@@" for letter in "abcdehilnorstuw"),
)
"""Of the merges' pieces, some are not in the vocabulary: "ic", "ri", "ver"."""


def make_bpe_codes_model(directory: Path) -> TinyModel:
    """Write a model with the tokenizer of PhoBERT: ``vocab.txt`` and ``bpe.codes``, which Python code reads."""
    import torch
    from transformers.models.roberta import RobertaConfig, RobertaModel

    directory.mkdir(parents=True)
    (directory / "vocab.txt").write_text("".join(f"{piece} 1\n" for piece in _PIECES), encoding="utf-8")
    (directory / "bpe.codes").write_text("".join(f"{merge} 1\n" for merge in _MERGES), encoding="utf-8")
    settings = {"tokenizer_class": "PhobertTokenizer", "model_max_length": 40}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    sizes = {**_SIZES, "vocab_size": len(_PIECES) + 5, "max_position_embeddings": 42, "pad_token_id": 1}
    with torch.random.fork_rng(devices=[]), tiny_models._no_progress():
        torch.manual_seed(24)
        RobertaModel(RobertaConfig(**sizes)).save_pretrained(directory)
    (directory / "sentence_bert_config.json").write_text('{"max_seq_length": 40}', encoding="utf-8")
    published: dict[str, Any] = {"similarity_fn_name": "cosine", "prompts": {}, "default_prompt_name": None}
    (directory / "config_sentence_transformers.json").write_text(json.dumps(published), encoding="utf-8")
    _add_pooling(directory, 16)
    return TinyModel(directory, max_seq_length=40, pooling="mean", has_normalize=False, dimension=16)


def _sentencepiece(special: dict[str, int]) -> bytes:
    """Train a small SentencePiece model, with the normalisation of XLM-R and T5."""
    import sentencepiece as untyped_sentencepiece

    sentencepiece: Any = untyped_sentencepiece
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for text in tiny_models.MIXED_TEXTS if text.strip()]),
        model_writer=written,
        vocab_size=250,
        hard_vocab_limit=False,
        num_threads=1,
        max_sentence_length=100_000,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
        **special,
    )
    return written.getvalue()


def _add_pooling(directory: Path, width: int, mode: str = "mean") -> None:
    modules = ["sentence_transformers.base.modules.Transformer", "sentence_transformers.models.Pooling"]
    entries = [{"idx": i, "name": str(i), "path": "1_Pooling" * i, "type": kind} for i, kind in enumerate(modules)]
    (directory / "modules.json").write_text(json.dumps(entries), encoding="utf-8")
    (directory / "1_Pooling").mkdir()
    pooling = {"embedding_dimension": width, "pooling_mode": mode, "include_prompt": True}
    (directory / "1_Pooling/config.json").write_text(json.dumps(pooling), encoding="utf-8")


def change_weights(file: Path, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """Replace the tensors of a safetensors file, torch tensors by name, by those that ``change`` returns."""
    from safetensors.torch import load_file, save_file

    tensors = {name: tensor.clone() for name, tensor in change(load_file(file)).items()}
    save_file(tensors, file, metadata={"format": "pt"})


def found_faults(directory: Path, *, is_collected: bool = True) -> list[str]:
    """Load a model directory, and return what makes its vectors wrong; without reports if they are not collected."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel

    with load_reports(PreTrainedModel) as reports:
        options: dict[str, Any] = {"dtype": torch.float32, "use_safetensors": True}
        model = SentenceTransformer(str(directory), device="cpu", local_files_only=True, model_kwargs=options)
    return faults(model, directory, reports if is_collected else [])


def without(model: TinyModel, directory: Path, part: str) -> TinyModel:
    """Copy a model, and leave out the tensors whose names contain ``part``."""
    copied = _copy(model, directory)
    change_weights(
        copied.directory / "model.safetensors",
        lambda tensors: {name: tensor for name, tensor in tensors.items() if part not in name},
    )
    return copied


def with_token(model: TinyModel, directory: Path, token: str) -> TinyModel:
    """Copy a model, and add a token to its tokenizer, for which the embedding table has no row."""
    from transformers.models.auto.tokenization_auto import AutoTokenizer

    copied = _copy(model, directory)
    tokenizer: Any = AutoTokenizer.from_pretrained(copied.directory)
    tokenizer.add_tokens([token], special_tokens=True)
    tokenizer.save_pretrained(copied.directory)
    return copied


def split(expression: str) -> dict[str, Any]:
    """Return a pre-tokenizer that cuts where a regular expression matches."""
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


def changed_tokenizer(document: bytes, changes: Mapping[str, Any]) -> bytes:
    """Return a tokenizer.json with some of its parts changed; keys of a model without a type are added to its model."""
    values = json.loads(document)
    for key, value in changes.items():
        values[key] = {**values[key], **value} if key == "model" and "type" not in value else value
    return json.dumps(values).encode()


def with_tokenizer(model: TinyModel, directory: Path, changes: Mapping[str, Any]) -> TinyModel:
    """Copy a model, change parts of its tokenizer.json, and have the library use that as it is."""
    copied = _copy(model, directory)
    path, settings = copied.directory / "tokenizer.json", copied.directory / "tokenizer_config.json"
    path.write_bytes(changed_tokenizer(path.read_bytes(), changes))
    stated = {**json.loads(settings.read_bytes()), "tokenizer_class": "PreTrainedTokenizerFast"}
    settings.write_text(json.dumps(stated), encoding="utf-8")
    return copied


def make_unmarked_model(directory: Path) -> TinyModel:
    """Like GPT: a decoder whose tokenizer adds no special tokens, so that an empty text has no tokens."""
    import torch

    special = {"eos_token": "<|endoftext|>", "pad_token": "<|pad|>"}
    tokenizer = tiny_models._byte_tokenizer("$A", special, padding_side="left")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(22)
        model = tiny_models._encoder("qwen3", len(tokenizer), 64)
    model.train(mode=False)
    with tiny_models._checkpoint(model, tokenizer) as checkpoint:
        tiny_models._save(checkpoint, directory, 64, "lasttoken", [])
    return TinyModel(directory, max_seq_length=64, pooling="lasttoken", has_normalize=False, dimension=DIMENSION)


def _copy(model: TinyModel, directory: Path) -> TinyModel:
    shutil.copytree(model.directory, directory)
    return replace(model, directory=directory)
