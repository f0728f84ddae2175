"""Models that publish code of their own, although transformers has the same architecture itself. Pure.

``auto_map`` in config.json names code in a repository, which a bundle does not carry. For some models that code is not
needed any more: transformers has the architecture under its own name. That a model *loads* without its code proves
nothing, because transformers ignores keys that it does not know: jina-embeddings-v2 loads as an ordinary BERT, and
gte-Qwen2 as an ordinary Qwen2, and both then mean something else. So there is a reviewed table. An entry needs

- the class in ``auto_map``, by its module, and by its repository where the reference (``repo--module.Class``) has one;
- the value of every key that the published code reads and the class of transformers takes for granted;
- the form of the configuration that transformers reads.

Each entry was compared by computing both with the same random weights under the published names: nomic_bert with the
published code itself, gte with its formulas, and again both with formulas in ``test_native_forms.py``. The largest
difference of a hidden state was below 1e-5, in padded batches and in texts of 3,000 tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from thoth_models_builder.errors import UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_AUTO_MAP: Final = "auto_map"
_MODEL_KEY: Final = "AutoModel"
_ABSENT: Final = object()
_NOMIC: Final = "nomic_bert"
_NOMIC_CODE: Final = "modeling_hf_nomic_bert.NomicBertModel"


@dataclass(frozen=True, kw_only=True, slots=True)
class NativeForm:
    """A model as transformers loads it without code of the model's own.

    Attributes:
        config: Content of config.json, without ``auto_map``, with the keys that the class of transformers reads.
        code: The reference in ``auto_map`` that is not needed.
        reason: Why both are the same.
        source: Public address of what the reason relies on.
    """

    config: Mapping[str, Any]
    code: str
    reason: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reviewed:
    """An entry of the table.

    Attributes:
        model_type: The published ``model_type``.
        code: ``module.Class`` of ``AutoModel``.
        repositories: Repositories that may stand before ``--`` in the reference.
        is_own: Whether the module may also be a file of the model's own repository, which has no ``--``.
        expected: Values that the class of transformers takes for granted, by key; _ABSENT where it may be missing.
        form: Returns the keys that transformers reads; raises _DifferentError.
        native_type: Name of the architecture in transformers.
        reason: Why both are the same.
        source: Public address of what the reason relies on.
    """

    model_type: str
    code: str
    repositories: frozenset[str]
    is_own: bool
    expected: Mapping[str, tuple[object, ...]]
    form: Callable[[Mapping[str, Any]], dict[str, Any]]
    native_type: str
    reason: str
    source: str


class _DifferentError(Exception):
    """A value of the configuration means something else to transformers than to the published code."""


def native_form(config: Mapping[str, Any]) -> NativeForm | None:
    """Return how transformers itself loads a model with that config.json; None if that is not known to be the same.

    Args:
        config: Content of config.json.
    """
    try:
        return _native_form(config)
    except _DifferentError:
        return None


def lacks_auto_map(config: Mapping[str, Any]) -> bool:
    """Return whether config.json has keys that only the published code reads, and no ``auto_map`` that names the code.

    As when a user has deleted it: transformers has the architecture, ignores the keys, and takes its own defaults.
    """
    return (
        not config.get(_AUTO_MAP)
        and config.get("model_type") == _NOMIC
        and "n_embd" in config
        and "hidden_size" not in config
    )


def without_auto_map(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a config.json with which transformers needs no code of the model's own.

    Args:
        config: Content of config.json; without ``auto_map``, and without keys that only the published code reads, it is
            returned as it is.

    Raises:
        UnsupportedModelError: The code is needed, or it is not known whether it is.
    """
    if not config.get(_AUTO_MAP) and not lacks_auto_map(config):
        return {key: value for key, value in config.items() if key != _AUTO_MAP}
    try:
        form = _native_form(config)
    except _DifferentError as error:
        raise UnsupportedModelError(f"config.json: {error}; {_ADVICE}") from error
    if form is None:
        raise UnsupportedModelError(f"config.json: {_why_not(config)}; {_ADVICE}")
    return dict(form.config)


_ADVICE: Final = "a bundle carries no code; review it and list its files under `code` in models.yaml, or choose another"


def _native_form(config: Mapping[str, Any]) -> NativeForm | None:
    reference = _reference(config)
    if reference is None:
        return None
    repository, code = reference
    entry = next(
        (entry for entry in _TABLE if entry.code == code and entry.model_type == config.get("model_type")), None
    )
    if entry is None or not (repository in entry.repositories if repository else entry.is_own):
        return None
    for key, values in entry.expected.items():
        if (found := config.get(key, _ABSENT)) not in values:
            raise _DifferentError(
                f"`{key}`: expected {values[0]!r}, which is what {entry.native_type} of transformers does, found "
                f"{'nothing' if found is _ABSENT else repr(found)}, for which the model's own {code} is needed"
            )
    kept = {key: value for key, value in config.items() if key not in (_AUTO_MAP, "rope_scaling", "rope_theta")}
    return NativeForm(
        config={**kept, **entry.form(config), "model_type": entry.native_type},
        code=f"{repository}--{code}" if repository else code,
        reason=entry.reason,
        source=entry.source,
    )


def _reference(config: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return repository, which may be empty, and ``module.Class`` of the code that would be loaded."""
    references = config.get(_AUTO_MAP)
    found = references.get(_MODEL_KEY) if isinstance(references, dict) else None
    if lacks_auto_map(config):
        found = _NOMIC_CODE
    if not isinstance(found, str):
        return None
    repository, dashes, code = found.partition("--")
    return (repository, code) if dashes else ("", found)


def _why_not(config: Mapping[str, Any]) -> str:
    reference = _reference(config)
    if reference is None:
        return f"expected no `{_AUTO_MAP}`, found one that names code of the model's own"
    repository, code = reference
    model_type = config.get("model_type")
    shown = f"{repository}--{code}" if repository else code
    found = f"expected no `{_AUTO_MAP}`, found {shown}, code of the model's own"
    if (difference := _KNOWN_DIFFERENT.get((str(model_type), code.rpartition(".")[2]))) is not None:
        return f"{found}: {model_type} of transformers is another model, {difference}"
    return f"{found}, which is not among those that transformers is known to have itself"


_KNOWN_DIFFERENT: Final = {
    ("bert", "JinaBertModel"): "with learned positions where this one has ALiBi, and without its gated layers",
    ("bert", "JinaBertForMaskedLM"): "with learned positions where this one has ALiBi, and without its gated layers",
    ("qwen2", "Qwen2Model"): "whose tokens see only those before them, where this one attends in both directions",
    ("qwen2", "Qwen2ForCausalLM"): "whose tokens see only those before them, where this one attends in both directions",
    ("mistral", "BidirectionalMistralModel"): "whose tokens see only those before them, where this one sees all",
    ("llama", "LlamaBidirectionalModel"): "whose tokens see only those before them, where this one sees all",
    ("xlm-roberta", "XLMRobertaLoRA"): "with learned positions and without this one's adapters for each task",
    ("xlm-roberta", "XLMRobertaModel"): "with learned positions where this one has rotary ones",
}
"""What transformers would load instead of the published code, and what is different; for messages only."""


# --- nomic_bert ---


def _nomic(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of transformers' nomic_bert for the keys of GPT-2 that the published code reads."""
    names = {
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "intermediate_size": "n_inner",
    }
    keys: dict[str, Any] = {name: _size(config, published) for name, published in names.items()}
    if keys["intermediate_size"] % 256:
        raise _DifferentError(
            f"`n_inner`: expected a multiple of 256, which the model's own code rounds up to, found "
            f"{keys['intermediate_size']}"
        )
    rows, multiple = _size(config, "vocab_size"), config.get("pad_vocab_size_multiple", 1)
    if isinstance(multiple, int) and multiple > 1 and rows % multiple:
        raise _DifferentError(f"`vocab_size`: expected a multiple of {multiple}, found {rows}")
    keys["layer_norm_eps"] = _number(config, "layer_norm_epsilon", 1e-5)
    keys["type_vocab_size"] = _size(config, "type_vocab_size", 2)
    keys["hidden_act"] = "silu"  # the gate of SwiGLU
    keys["hidden_dropout_prob"] = keys["attention_probs_dropout_prob"] = 0.0
    keys["rope_parameters"] = {"rope_type": "default", "rope_theta": _number(config, "rotary_emb_base", 10_000)}
    if "max_position_embeddings" not in config and "n_positions" in config:
        # Not a limit of the architecture; it is where sentence-transformers looks without sentence_bert_config.json.
        keys["max_position_embeddings"] = _size(config, "n_positions")
    if config.get("rotary_scaling_factor"):
        # Beyond this length the published code stretches the positions by the longest text of each batch, so that a
        # vector depends on the texts beside it. `published.positions` allows no longer text, if this is a length.
        _size(config, "max_trained_positions", 2048)
    return keys


# --- gte ---


def _gte(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of transformers' gte."""
    _size(config, "vocab_size")  # both have a default, and not the same one
    theta, scaling = _number(config, "rope_theta", 10_000.0), config.get("rope_scaling")
    if scaling is None:
        return {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    factor = scaling.get("factor") if isinstance(scaling, dict) else None
    if (
        isinstance(factor, bool)
        or not isinstance(factor, (int, float))
        or not 1 <= factor < _MOST
        or scaling.get("type") != "ntk"
        or scaling.get("mixed_b") is not None
    ):
        raise _DifferentError(
            f"`rope_scaling`: expected none, or the type ntk with a factor of at least 1 alone, found {scaling!r}"
        )
    width, heads = _size(config, "hidden_size"), _size(config, "num_attention_heads")
    if width % heads:
        raise _DifferentError(f"`hidden_size`: expected a multiple of {heads}, num_attention_heads, found {width}")
    # The published code multiplies the base by the factor, and then divides every frequency by factor ** (2 / head):
    # what transformers calls linear scaling by that number, of the larger base.
    stretched = {"rope_type": "linear", "rope_theta": theta * factor, "factor": float(factor ** (2 * heads / width))}
    return {"rope_parameters": stretched}


def _size(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < _MOST:
        raise _DifferentError(f"`{key}`: expected a positive integer, found {value!r}")
    return value


def _number(config: Mapping[str, Any], key: str, default: float) -> float:
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < _MOST:
        raise _DifferentError(f"`{key}`: expected a positive number, found {value!r}")
    return float(value)


_MOST: Final = 10**15
"""No size or number of a model is as large; larger ones could not be computed with."""


_NO = (False, None, _ABSENT)
_NOMIC_EXPECTED: Final[Mapping[str, tuple[object, ...]]] = {
    "activation_function": ("swiglu",),
    "prenorm": _NO,
    "parallel_block": _NO,
    "parallel_block_tied_norm": _NO,
    "rotary_emb_fraction": (1.0,),
    "rotary_emb_interleaved": _NO,
    "rotary_emb_scale_base": (None, _ABSENT),
    "rotary_head_dim": _NO,
    "qkv_proj_bias": (False,),
    "mlp_fc1_bias": (False,),
    "mlp_fc2_bias": (False,),
    "norm_mlp": _NO,
    "num_heads_kv": (None, _ABSENT),
    "use_rms_norm": _NO,
    "causal": _NO,
    # The published code drops attention out also when it is not being trained.
    "attn_pdrop": (0.0,),
    # nomic-embed-text-v2-moe and the vision models have the same model_type.
    "num_experts": (0, None, _ABSENT),
    "moe_every_n_layers": (0, None, _ABSENT),
    "img_size": (None, _ABSENT),
}
_GTE_EXPECTED: Final[Mapping[str, tuple[object, ...]]] = {
    "position_embedding_type": ("rope", _ABSENT),
    "layer_norm_type": ("layer_norm", _ABSENT),
    "pack_qkv": (True, _ABSENT),
    "logn_attention_scale": (False, _ABSENT),
}
_GTE_REASON: Final = (
    "transformers' gte was written for this architecture and reads its weights under their published names; unpadding, "
    "packing and memory-efficient attention, which are switches of the published code, do not change the result"
)

_TABLE: Final = (
    # Above each, the models that it was written for; others with the same reference and the same values fit as well.
    #
    # nomic-ai/nomic-embed-text-v1, nomic-ai/nomic-embed-text-v1.5, Snowflake/snowflake-arctic-embed-m-long
    _Reviewed(
        model_type=_NOMIC,
        code=_NOMIC_CODE,
        repositories=frozenset(
            {
                "nomic-ai/nomic-bert-2048",
                "nomic-ai/nomic-embed-text-v1",
                "nomic-ai/nomic-embed-text-v1-ablated",
                "nomic-ai/nomic-embed-text-v1-unsupervised",
                "nomic-ai/nomic-embed-text-v1.5",
                "Snowflake/snowflake-arctic-embed-m-long",
            }
        ),
        is_own=True,
        expected=_NOMIC_EXPECTED,
        form=_nomic,
        native_type=_NOMIC,
        reason="transformers took this architecture over, and reads its weights under their published names",
        source="https://github.com/huggingface/transformers/pull/43067",
    ),
    # Snowflake/snowflake-arctic-embed-m-v2.0
    _Reviewed(
        model_type="gte",
        code="modeling_hf_alibaba_nlp_gte.GteModel",
        repositories=frozenset({"Snowflake/snowflake-arctic-embed-m-v2.0"}),
        is_own=True,
        expected=_GTE_EXPECTED,
        form=_gte,
        native_type="gte",
        reason=_GTE_REASON,
        source="https://github.com/huggingface/transformers/pull/48416",
    ),
    # Alibaba-NLP/gte-multilingual-base, Alibaba-NLP/gte-base-en-v1.5, Alibaba-NLP/gte-large-en-v1.5
    _Reviewed(
        model_type="new",
        code="modeling.NewModel",
        repositories=frozenset({"Alibaba-NLP/new-impl"}),
        # `modeling` is too common a name to say which file it is: stella has one of its own.
        is_own=False,
        expected=_GTE_EXPECTED,
        form=_gte,
        native_type="gte",
        reason=_GTE_REASON,
        source="https://github.com/huggingface/transformers/pull/48416",
    ),
)
