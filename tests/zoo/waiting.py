"""Shapes that cannot pass yet, each with what it waits for. A shape that passes must be taken out: the tests say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_CODE = "the key `code`"
_NATIVE = "the table of architectures that transformers has itself"
_KEYS = "the keys `prompts`, `pooling`, `max_seq_length`, `normalize: auto`"
_PICKLE = "the key `pickle`"

WAITING: Mapping[str, str] = {
    "e5": _KEYS,
    "bge": _KEYS,
    "e5-unigram": _KEYS,
    "e5-xlmr": _KEYS,
    "e5-instruct": _KEYS,
    "e5-mistral": _KEYS,
    "bge-gemma2": _KEYS,
    "modernbert-embed": _KEYS,
    "mpnet-dot": _KEYS,
    "tas-b": _KEYS,
    "bert-mean-dot": _KEYS,
    "arctic-l-v2": _KEYS,
    "qwen3": _KEYS,
    "qwen3-sharded": _KEYS,
    "contriever": _PICKLE,
    "simcse": _PICKLE,
    "bge-m3": _PICKLE,
    "instructor": _PICKLE,
    "potion": "the path `.` in modules.json",
    "nomic": _NATIVE,
    "arctic-m-long": _NATIVE,
    "gte-en": _NATIVE,
    "gte-multilingual": _NATIVE,
    "arctic-m-v2": _NATIVE,
    "nomic-moe": _CODE,
    "stella-400m": _CODE,
    "gte-qwen2": _CODE,
    "jina-v2": _CODE,
    "camembert": "tokenizers that are a sentencepiece model alone",
    "phobert": "tokenizers of `bpe.codes`",
}
