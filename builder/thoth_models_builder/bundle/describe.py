"""Describe a model from its small JSON files: dimension, pooling, maximum length, prompts.

Pure, except for the functions of its files; without torch, and without code of the model. A model whose files do not
say enough is refused, because a bundle must not guess what a vector means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thoth_models.bundle.space import has_normalize
from thoth_models.bundle.unsafe_references import MODULE_KINDS, SENTENCE_CONFIG, module_kind, unsafe_references
from thoth_models_builder.errors import UnsupportedKeyError, UnsupportedModelError
from thoth_models_builder.spec.variants import BUILT_IN_PROMPTS, MODULES_FILE, SENTENCE_TRANSFORMERS_FILE, path_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thoth_models_builder.bundle.model_files import ModelFiles

_CODE_PREFIX = "sentence_transformers."
WITH_WEIGHTS = ("Transformer", "StaticEmbedding", "Dense", "LayerNorm")
_BEGINNINGS = (["Transformer", "Pooling"], ["StaticEmbedding"])

# The order in which sentence-transformers joins several pooling modes, and the flags of older configurations.
_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}

WIDTH_KEYS = ("hidden_size", "dim", "d_model", "n_embd", "emb_dim")
"""What configurations of the transformers library call the length of a token's vector (``attribute_map`` there)."""

_TOKENS, _VECTOR = "token_embeddings", "sentence_embedding"
"""What modules of sentence-transformers call the vectors of tokens, and that of a text."""

_NO_LIMIT = 10**12
"""Tokenizers write a number beyond 10**30 if they have no maximum length."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """Facts about a model from its files.

    Attributes:
        dimension: Length of a vector.
        max_seq_length: Longest input in tokens, or None for no limit.
        pooling: How token vectors become one; several modes are joined with ``+``.
        has_normalize: Whether the published model itself normalises vectors to unit length.
        similarity: Similarity function that the model was published for.
        prompts: Prompts by name; a prompt is a string that is added before a text.
        default_prompt_name: Name of the prompt that is used if the caller names none, or None.
        truncate_dim: How many components the published model keeps of a vector, or None for all of them.
    """

    dimension: int
    max_seq_length: int | None
    pooling: str
    has_normalize: bool
    similarity: str
    prompts: Mapping[str, str]
    default_prompt_name: str | None
    truncate_dim: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """One step of the pipeline: its kind, such as ``Pooling``, and its directory, empty for the top."""

    kind: str
    directory: str

    def path(self, name: str) -> str:
        """Return the path of a file of this module."""
        return path_in(self.directory, name)


def read_modules(files: ModelFiles) -> list[Module]:
    """Return the steps of the pipeline, from modules.json.

    Raises:
        UnsupportedModelError: The file is missing or malformed, or a step is code of the model itself, or of a kind
            that this release cannot describe.
    """
    entries = files.json(MODULES_FILE, list)
    modules: list[Module] = []
    names: set[str] = set()
    for index, entry in enumerate(entries):
        place = f"{MODULES_FILE}: [{index}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
            raise UnsupportedModelError(f"{place}: expected an object with a string under `type`, found {entry!r}")
        reference, name, directory = entry["type"], entry.get("name"), entry.get("path")
        if not reference.startswith(_CODE_PREFIX):
            raise UnsupportedModelError(
                f"{place}.type: expected a module of sentence-transformers, found {reference!r}, which is code of the "
                "model's own (trust_remote_code); a bundle carries no code"
            )
        if (kind := module_kind(reference)) is None:
            raise UnsupportedModelError(f"{place}.type: expected one of {', '.join(MODULE_KINDS)}, found {reference!r}")
        # The library joins this to the path of the model, and an absolute path would replace it.
        if not isinstance(directory, str) or (directory and any(p in ("", ".", "..") for p in directory.split("/"))):
            raise UnsupportedModelError(f"{place}.path: expected a directory of the model, found {directory!r}")
        # The library keeps modules by name, so that of two with one name the first is lost.
        if not isinstance(name, str) or name in names:
            raise UnsupportedModelError(f"{place}.name: expected a name that no other module has, found {name!r}")
        names.add(name)
        modules.append(Module(kind=kind, directory=directory))
    kinds = [module.kind for module in modules]
    only_first = [kind for kind in kinds if any(kind in beginning for beginning in _BEGINNINGS)]
    if only_first not in _BEGINNINGS or kinds[: len(only_first)] != only_first:
        raise UnsupportedModelError(
            f"{MODULES_FILE}: expected a Transformer and a Pooling, or a StaticEmbedding, and then others, "
            f"found {', '.join(kinds) or 'nothing'}"
        )
    return modules


def refuse_unsafe(files: ModelFiles) -> None:
    """Refuse a model whose configuration refers to code, or to files outside of the model.

    Raises:
        UnsupportedModelError: There are such references; the message lists all of them.
    """
    if unsafe := unsafe_references(files.digests, files.json):
        raise UnsupportedModelError("; ".join(map(str, unsafe)))


def describe(files: ModelFiles) -> ModelFacts:
    """Return the facts about a model from its files.

    Raises:
        UnsupportedModelError: A fact is missing from the files, or the model needs something that a bundle refuses.
    """
    modules = read_modules(files)
    refuse_unsafe(files)
    for module in (module for module in modules if module.kind in WITH_WEIGHTS):
        if not any(path.endswith(".safetensors") and _in(path, module.directory) for path in files.digests):
            wanted, pickled = module.path("model.safetensors"), module.path("pytorch_model.bin")
            raise UnsupportedModelError(
                f"{wanted}: expected weights as safetensors, found none; pickled weights can run code when they are "
                f"loaded, and only those in {pickled}, or its shards, can be converted"
            )
    first, max_seq_length = modules[0], None
    if first.kind == "StaticEmbedding":
        mode, rest = "mean", modules[1:]
    else:
        mode = _pooling(files, modules[1])
        max_seq_length, rest = read_max_seq_length(files, first), modules[2:]
    width = read_width(files, modules)
    config = files.optional_object(SENTENCE_TRANSFORMERS_FILE)
    if (model_type := config.get("model_type", "SentenceTransformer")) != "SentenceTransformer":
        raise UnsupportedModelError(
            f"config_sentence_transformers.json: model_type: expected SentenceTransformer, found {model_type!r}"
        )
    # sentence-transformers always has the first two, empty unless the model defines them.
    prompts = {**dict.fromkeys(BUILT_IN_PROMPTS, ""), **read_prompts(config)}
    default_prompt_name = config.get("default_prompt_name")
    if default_prompt_name is not None and default_prompt_name not in list(prompts):
        raise UnsupportedModelError(
            f"config_sentence_transformers.json: default_prompt_name: expected one of {', '.join(prompts)}, "
            f"found {default_prompt_name!r}"
        )
    similarity = config.get("similarity_fn_name") or "cosine"
    if similarity not in ("cosine", "dot", "euclidean", "manhattan"):
        raise UnsupportedModelError(
            "config_sentence_transformers.json: similarity_fn_name: expected cosine, dot, euclidean or manhattan, "
            f"found {similarity!r}"
        )
    # The library keeps the first components of what the last module returns, so the rest has no unit length any more;
    # a number that is not less than there are changes nothing.
    kept = None if config.get("truncate_dim") is None else _integer(files, SENTENCE_TRANSFORMERS_FILE, "truncate_dim")
    is_truncated = kept is not None and kept < width
    return ModelFacts(
        dimension=kept if kept is not None and is_truncated else width,
        max_seq_length=max_seq_length,
        pooling=mode,
        has_normalize=not is_truncated
        and has_normalize([(module.kind, module.directory) for module in rest], files.digests, files.json),
        similarity=similarity,
        prompts=prompts,
        default_prompt_name=default_prompt_name,
        truncate_dim=kept if is_truncated else None,
    )


def read_width(files: ModelFiles, modules: Sequence[Module]) -> int:
    """Return the length of the vector that the last module returns, before components are left out.

    Raises:
        UnsupportedModelError: The files do not state it, or a module expects another length than the one before it
            returns.
    """
    first = modules[0]
    if first.kind == "StaticEmbedding":
        widths = {_VECTOR: _row_length(files, first)}
    else:
        pooling = modules[1].path("config.json")
        widths = {_TOKENS: _pooled_width(files, modules[1], first)}
        widths[_VECTOR] = widths[_TOKENS] * len(_modes(files, pooling))
    for module in modules[1:]:
        path = module.path("config.json")
        if module.kind == "Dense":
            taken = _feature(files, path, "module_input_name", _VECTOR)
            _expect_width(files, path, "in_features", widths.get(taken))
            widths[_feature(files, path, "module_output_name", taken)] = _integer(files, path, "out_features")
        elif module.kind == "LayerNorm":
            _expect_width(files, path, "dimension", widths[_VECTOR])
    return widths[_VECTOR]


def _feature(files: ModelFiles, path: str, key: str, default: str) -> str:
    name = files.json(path, dict).get(key)
    if name is not None and not isinstance(name, str):
        raise UnsupportedModelError(f"{path}: {key}: expected a string, found {name!r}")
    return default if name is None else name


def _expect_width(files: ModelFiles, path: str, key: str, width: int | None) -> None:
    found = _integer(files, path, key)
    if width is not None and found != width:
        raise UnsupportedModelError(
            f"{path}: {key}: expected {width}, the length of the vectors that it is given, found {found}"
        )


def read_token_width(files: ModelFiles, path: str) -> tuple[str, int] | None:
    """Return the length of a token's vector with its key in a config.json, or None if no known key states it.

    Raises:
        UnsupportedModelError: It is not a positive integer.
    """
    config = files.json(path, dict)
    key = next((key for key in WIDTH_KEYS if config.get(key) is not None), None)
    return None if key is None else (key, _integer(files, path, key))


def read_pooling_modes(files: ModelFiles, modules: Sequence[Module]) -> tuple[str, ...]:
    """Return the pooling modes, in the order in which their vectors are joined; ``mean`` for a StaticEmbedding.

    Raises:
        UnsupportedModelError: The files do not state them.
    """
    if modules[0].kind == "StaticEmbedding":
        return ("mean",)
    return _modes(files, modules[1].path("config.json"))


def _in(path: str, directory: str) -> bool:
    return path.rpartition("/")[0] == directory


def _pooling(files: ModelFiles, module: Module) -> str:
    path = module.path("config.json")
    suffix = "" if files.json(path, dict).get("include_prompt", True) else " without prompt"
    return "+".join(_modes(files, path)) + suffix


def _pooled_width(files: ModelFiles, module: Module, transformer: Module) -> int:
    """Return the length of a token's vector, which the configurations of both modules state."""
    path = module.path("config.json")
    key = "embedding_dimension" if "embedding_dimension" in files.json(path, dict) else "word_embedding_dimension"
    width = _integer(files, path, key)
    stated = read_token_width(files, transformer.path("config.json"))
    if stated is not None and stated[1] != width:
        raise UnsupportedModelError(f"{path}: {key}: expected {stated[1]} ({stated[0]} of the model), found {width}")
    return width


def _modes(files: ModelFiles, path: str) -> tuple[str, ...]:
    config = files.json(path, dict)
    mode = config.get("pooling_mode")
    if mode is None:
        modes = [name for flag, name in _POOLING_FLAGS.items() if config.get(flag)] or ["mean"]
    else:
        modes = mode if isinstance(mode, list) else [mode]
    if not modes or any(name not in _POOLING_FLAGS.values() for name in modes):
        known = ", ".join(_POOLING_FLAGS.values())
        raise UnsupportedModelError(f"{path}: pooling_mode: expected one or several of {known}, found {mode!r}")
    return tuple(modes)


def _row_length(files: ModelFiles, module: Module) -> int:
    """Return the length of a row of a StaticEmbedding, which is only known from its weights."""
    path = module.path("model.safetensors")
    if path not in files.digests:
        raise UnsupportedModelError(f"{path}: expected this file, found none")
    shapes = files.shapes(path)
    # The first is the name of this library, the second that of model2vec.
    shape = shapes.get("embedding.weight", shapes.get("embeddings"))
    if not isinstance(shape, list) or len(shape) != 2 or type(shape[1]) is not int or shape[1] < 1:  # noqa: PLR2004
        raise UnsupportedModelError(
            f"{path}: expected embedding.weight or embeddings with a row for each token, found {shape!r}"
        )
    return shape[1]


def find_settings(files: ModelFiles, transformer: Module) -> str | None:
    """Return the path of a Transformer's own settings, such as ``sentence_bert_config.json``; None if it has none.

    Raises:
        UnsupportedModelError: It has several.
    """
    settings = [
        path
        for path in sorted(files.digests)
        if _in(path, transformer.directory) and SENTENCE_CONFIG.fullmatch(path.rpartition("/")[2])
    ]
    if len(settings) > 1:
        raise UnsupportedModelError(f"expected one sentence_*_config.json, found {', '.join(settings)}")
    return settings[0] if settings else None


def read_max_seq_length(files: ModelFiles, transformer: Module) -> int:
    """Return the longest input in tokens, looked up in the same order as sentence-transformers does.

    Raises:
        UnsupportedModelError: The files do not state it.
    """
    settings = find_settings(files, transformer)
    if settings is not None and files.json(settings, dict).get("max_seq_length") is not None:
        return _integer(files, settings, "max_seq_length")
    config = files.json(transformer.path("config.json"), dict)
    tokenizer = files.optional_object(transformer.path("tokenizer_config.json"))
    limits = [
        int(limit)
        for limit in (tokenizer.get("model_max_length"), config.get("max_position_embeddings"))
        if isinstance(limit, (int, float)) and 1 <= limit < _NO_LIMIT
    ]
    if not limits:
        raise UnsupportedKeyError(
            "max_seq_length: expected this key in models.yaml, or a maximum length in sentence_bert_config.json, "
            "tokenizer_config.json or config.json, found none"
        )
    return min(limits)


def _integer(files: ModelFiles, path: str, key: str) -> int:
    value = files.json(path, dict).get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UnsupportedModelError(f"{path}: {key}: expected a positive integer, found {value!r}")
    return value


def read_prompts(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the prompts by name, from the content of config_sentence_transformers.json.

    Raises:
        UnsupportedModelError: They are malformed.
    """
    prompts = config.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise UnsupportedModelError(
            f"config_sentence_transformers.json: prompts: expected an object, found {prompts!r}"
        )
    # sentence-transformers reads null as the empty prompt.
    texts = {name: "" if text is None else text for name, text in prompts.items()}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise UnsupportedModelError(
                f"config_sentence_transformers.json: prompts.{name}: expected a string, found {text!r}"
            )
    return texts
