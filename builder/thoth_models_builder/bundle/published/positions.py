"""The longest text that an architecture has positions for, in tokens, from its config.json. Pure.

A longer text ends in an index error in the middle of a batch. Three rules, as the code of transformers has them:

- a table with a position for each token: BERT, DistilBERT, ALBERT, ELECTRA, and others;
- the same, counted from ``pad_token_id + 1``: RoBERTa, XLM-R, CamemBERT, MPNet, and what was made of them, so that 514
  positions are enough for 512 tokens;
- positions that are computed (rotary, relative, ALiBi), where ``max_position_embeddings`` is the length of the texts
  that the model was trained on, and no limit.

Of an architecture that is not listed here, it is not known whether longer texts fail, or would be computed well. Of a
model that brings its own code, the name of the architecture says nothing, so no rule applies to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from thoth_models_builder.errors import UnsupportedKeyError, UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TABLE: Final = frozenset(
    {"albert", "bert", "bert-generation", "big_bird", "convbert", "distilbert", "electra", "ernie", "flaubert", "fnet"}
    | {
        "gpt2",
        "gpt_bigcode",
        "gpt_neo",
        "layoutlm",
        "megatron-bert",
        "mobilebert",
        "mra",
        "nystromformer",
        "openai-gpt",
    }
    | {"rembert", "roc_bert", "splinter", "squeezebert", "xlm", "yoso"}
)
_AFTER_PADDING: Final = frozenset(
    {"camembert", "data2vec-text", "ibert", "lilt", "longformer", "luke", "markuplm", "mluke", "mpnet", "phobert"}
    | {"roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"}
)
_COMPUTED: Final = frozenset(
    # rotary
    {"cohere", "cohere2", "eurobert", "falcon", "gemma", "gemma2", "gemma3_text", "gpt_neox", "gptj", "granite", "gte"}
    | {"jina_embeddings_v3", "lfm2", "llama", "mistral", "modernbert", "modernbert-decoder", "nomic_bert", "olmo2"}
    | {"phi", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3", "starcoder2"}
    # relative
    | {"funnel", "longt5", "mt5", "switch_transformers", "t5", "t5gemma", "transfo-xl", "umt5", "xlnet"}
    # ALiBi
    | {"bloom", "mpt"}
)
_ROTARY_KEYS: Final = ("rope_parameters", "rope_scaling", "rope_theta", "rotary_emb_base", "global_rope_theta")
_DISENTANGLED: Final = frozenset({"deberta", "deberta-v2"})
_DEFAULT_PADDING: Final = 1
"""``pad_token_id`` of these architectures where config.json has none; MPNet's is this one whatever it has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Positions:
    """A limit on the length of a text.

    Attributes:
        tokens: Longest text, in tokens, with those that the tokenizer adds.
        reason: Where the limit comes from, as the end of a sentence that begins with "because".
        is_table: Whether longer texts are known to fail; otherwise their vectors would mean something else, or more is
            not known.
    """

    tokens: int
    reason: str
    is_table: bool = True


def positions_of(config: Mapping[str, Any]) -> Positions | None:
    """Return the limit of a model with that config.json, or None if its architecture has none.

    An architecture that is not known here has what it states, unless that is the base of rotary positions.

    Raises:
        UnsupportedModelError: The ``model_type`` is not a string.
    """
    model_type = config.get("model_type")
    if model_type is not None and not isinstance(model_type, str):
        raise UnsupportedModelError(f"config.json: model_type: expected a string, found {model_type!r}")
    if config.get("rotary_scaling_factor") and (trained := _count(config.get("max_trained_positions", 2048))):
        return Positions(
            tokens=trained,
            reason=f"beyond {trained} tokens its rotary_scaling_factor makes a vector depend on the texts beside it",
            is_table=False,
        )
    key = "max_position_embeddings" if "max_position_embeddings" in config else "n_positions"
    count = _count(config.get(key))
    if count is None or _are_computed(config):
        return None
    if model_type not in _TABLE | _DISENTANGLED | _AFTER_PADDING:
        reason = f"its files state {count} positions ({key}), and of {model_type} more is not known"
        return Positions(tokens=count, reason=reason, is_table=False)
    if model_type not in _AFTER_PADDING:
        return Positions(tokens=count, reason=f"{model_type} has {count} positions ({key})")
    padding = config.get("pad_token_id")
    if model_type == "mpnet" or isinstance(padding, bool) or not isinstance(padding, int) or padding < 0:
        padding = _DEFAULT_PADDING
    usable = count - padding - 1
    if usable < 1:
        return None
    return Positions(
        tokens=usable, reason=f"{model_type} has {count} positions and uses those after {padding}, its pad_token_id"
    )


def _are_computed(config: Mapping[str, Any]) -> bool:
    if config.get("model_type") in _DISENTANGLED:
        return config.get("position_biased_input") is False
    return config.get("model_type") in _COMPUTED or any(config.get(key) for key in _ROTARY_KEYS)


def refuse_beyond_positions(config: Mapping[str, Any], max_seq_length: int) -> None:
    """Refuse a maximum length that the architecture has no positions for.

    Raises:
        UnsupportedKeyError: The maximum is too large; the message has the largest one.
    """
    limit = positions_of(config)
    if limit is not None and max_seq_length > limit.tokens:
        raise UnsupportedKeyError(
            f"max_seq_length: expected at most {limit.tokens}, because {limit.reason}, found {max_seq_length}; "
            f"state `max_seq_length: {limit.tokens}` in models.yaml"
        )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
