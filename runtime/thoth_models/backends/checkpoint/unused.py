"""What a checkpoint may lack or have in excess, by architecture: the reviewed list. Pure.

A tensor that is missing is filled by the library with random numbers, and one in excess is ignored, both without an
error. Either is right only for parts that vectors do not depend on. Every entry was compared with what transformers
itself reports when it loads a checkpoint that it wrote from a model with that head, so an architecture that is not
listed must fit exactly.

Names are those of the library's report, without the prefix of the base model (``bert.``). Three things are not listed,
because the library itself leaves them out of its report: buffers that it computes (``position_ids``,
``rotary_emb.inv_freq``), the decoder of an encoder-decoder model of which only the encoder is loaded, and one of two
tensors that are tied.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A part of an architecture.

    Attributes:
        names: Regular expression for the whole name of each of its tensors.
        reason: Why vectors do not depend on it.
    """

    names: str
    reason: str

    def has(self, tensor: str) -> bool:
        """Return whether a tensor belongs to this part."""
        return re.fullmatch(self.names, tensor) is not None


POOLER: Final = Part(
    names=r"pooler\.(dense\.)?(weight|bias)",
    reason="it computes pooler_output from the token embeddings, and a Pooling module pools the token embeddings",
)
"""May be missing, unless the pipeline takes ``pooler_output``."""

_MASKED_LANGUAGE: Final = "the head for masked language modelling, which predicts tokens from token embeddings"
_NEXT_TOKEN: Final = "the head that predicts the next token from token embeddings"  # noqa: S105 - no password
_BERT_HEAD: Final = Part(
    names=r"cls\.(predictions|seq_relationship)\..+",
    reason=f"{_MASKED_LANGUAGE}, and the one that predicts whether a sentence follows another",
)
_ROBERTA_HEAD: Final = Part(names=r"lm_head\..+", reason=_MASKED_LANGUAGE)
_DECODER_HEAD: Final = Part(names=r"lm_head\.weight", reason=_NEXT_TOKEN)
_POOLER_OF_ORIGIN: Final = Part(
    names=POOLER.names, reason="a pooler of the code that the model was published with; the library's class has none"
)

WITH_POOLER: Final = frozenset(
    {
        *("albert", "bert", "camembert", "ernie", "jina_embeddings_v3", "longformer", "megatron-bert", "mpnet"),
        *("rembert", "roberta", "xlm-roberta", "xlm-roberta-xl"),
    }
)
"""Architectures (``model_type``) with :data:`POOLER`."""

IN_EXCESS: Final[dict[str, tuple[Part, ...]]] = {
    **dict.fromkeys(("bert", "big_bird", "ernie", "megatron-bert", "rembert"), (_BERT_HEAD,)),
    **dict.fromkeys(
        ("camembert", "jina_embeddings_v3", "longformer", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl"),
        (_ROBERTA_HEAD,),
    ),
    **dict.fromkeys(("llama", "mistral", "phi3", "qwen2", "qwen3"), (_DECODER_HEAD,)),
    **dict.fromkeys(("gemma", "gemma2", "gemma3_text", "gpt2", "gpt_neo"), (_DECODER_HEAD,)),
    **dict.fromkeys(("mt5", "t5", "umt5"), (_DECODER_HEAD,)),
    "albert": (
        Part(
            names=r"(predictions|sop_classifier)\..+",
            reason=f"{_MASKED_LANGUAGE}, and the one that predicts the order of two sentences",
        ),
    ),
    "deberta": (_BERT_HEAD,),
    "deberta-v2": (
        _BERT_HEAD,
        Part(names=r"(lm_predictions|mask_predictions)\..+", reason=f"{_MASKED_LANGUAGE}, as published by its authors"),
    ),
    "distilbert": (Part(names=r"vocab_(layer_norm|projector|transform)\..+", reason=_MASKED_LANGUAGE),),
    "electra": (
        Part(
            names=r"(generator_lm_head|generator_predictions|discriminator_predictions)\..+",
            reason="the heads of the generator and of the discriminator, used to train it only",
        ),
    ),
    "eurobert": (_ROBERTA_HEAD,),
    "gte": (
        _ROBERTA_HEAD,
        _POOLER_OF_ORIGIN,
        Part(names=r"classifier\.(weight|bias)", reason="the head that weighs tokens for sparse vectors"),
    ),
    "modernbert": (Part(names=r"(head\.(dense|norm)|decoder)\.(weight|bias)", reason=_MASKED_LANGUAGE),),
    "nomic_bert": (_BERT_HEAD, _POOLER_OF_ORIGIN),
}
"""By architecture, the parts that a checkpoint may have and the loaded model has not."""

WITHOUT_ROW: Final[dict[str, dict[str, str]]] = {
    "gemma3_text": {
        "<image_soft_token>": "the place of an image in Gemma 3 with vision, whose tokenizer the models for text have "
        "too; encoding a text with it fails, as in the library",
    },
}
"""By architecture, tokens that have no row in the embedding table, with the reason."""


def may_be_missing(model_type: str, tensor: str, *, takes_pooler_output: bool) -> bool:
    """Return whether vectors are right without a tensor of the model.

    Args:
        model_type: The architecture, as in config.json.
        tensor: Name of the tensor.
        takes_pooler_output: Whether the pipeline uses ``pooler_output``.
    """
    return model_type in WITH_POOLER and not takes_pooler_output and POOLER.has(tensor)


def may_be_in_excess(model_type: str, tensor: str) -> bool:
    """Return whether vectors are right without a tensor of the checkpoint, for which the loaded model has no place."""
    return any(part.has(tensor) for part in IN_EXCESS.get(model_type, ()))
