"""Find references in a model's configuration files that would make a library read or run something else.

Pure, except for the function that it is given to read a file. The files of a bundle are compared with the manifest, but
sentence-transformers and transformers follow names *inside* some of them: to a tokenizer elsewhere, to weights in
another directory, to code, and to kernels, which are code on the Hub. The builder refuses such a model, and so does the
runtime. Names that choose code have to be in a list here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

SENTENCE_CONFIG = re.compile(r"sentence_[a-z-]+_config\.json")
"""Names of the first module's settings file; early releases of sentence-transformers had one per architecture."""

_WEIGHT_FILE = re.compile(r"model-\d{5}-of-\d{5}\.safetensors|model\.safetensors")

# The keys that sentence_bert_config.json may have; others would be passed to constructors that open paths.
_SENTENCE_KEYS = frozenset(
    {"max_seq_length", "do_lower_case", "transformer_task", "modality_config", "module_output_name", "unpad_inputs"}
)
_TASK_ARGUMENTS = ("model_args", "default_task")
"""The one argument for loading that it may have: a name that code of the model's own compares with its tasks."""
_CODE_KEY = "auto_map"
_CONFIG_KEYS = frozenset({"transformers_weights", "quantization_config", "compression_config"})
_IMPLEMENTATIONS = frozenset({"eager", "sdpa", "torch", "batched_mm", "grouped_mm"})
"""Names under keys such as ``attn_implementation`` that choose code of the installed libraries. Others are names of
repositories, or ``flash_attention_2`` and the like, for which transformers looks up a repository too."""
_IMPLEMENTATION_KEY = re.compile(r"(.*_)?(attn|attention|experts)_implementation(_internal)?", re.DOTALL)
_KERNEL_KEYS = frozenset({"use_kernels", "kernel_config"})

MODULES_FILE = "modules.json"
_LIBRARY = "sentence_transformers"
_MODULE_HOMES = {
    "Transformer": "base.modules.transformer",
    "StaticEmbedding": "sentence_transformer.modules.static_embedding",
    "Pooling": "sentence_transformer.modules.pooling",
    "Dense": "base.modules.dense",
    "LayerNorm": "sentence_transformer.modules.layer_norm",
    "Dropout": "sentence_transformer.modules.dropout",
    "Normalize": "base.modules.normalize",
}
_MODULE_KINDS = {
    f"{_LIBRARY}.{home}.{kind}": kind
    for kind, own in _MODULE_HOMES.items()
    for home in ("models", "base.modules", "sentence_transformer.modules", own)
}
MODULE_KINDS = tuple(_MODULE_HOMES)
"""The classes of sentence-transformers that a pipeline may consist of."""

_ACTIVATION_NAMES = (
    *("ELU", "GELU", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid", "Mish", "PReLU", "ReLU"),
    *("ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softsign", "Tanh"),
)
_ACTIVATIONS = frozenset(
    {"torch.nn.Identity", "torch.nn.modules.linear.Identity"}
    | {f"torch.nn.{home}{name}" for name in _ACTIVATION_NAMES for home in ("", "modules.activation.")}
)
"""Classes of activation functions that a Dense module may name. For others, sentence-transformers imports what they
name, or takes Tanh in their place."""
_TOKENIZER_KEYS = frozenset({"fast_tokenizer_files", "gguf_file", "init_inputs", "tokenizer_object"})
# Published models have these with paths of the machine they were made on; transformers replaces them.
_IGNORED_TOKENIZER_KEYS = frozenset(
    {"special_tokens_map_file", "tokenizer_config_file", "tokenizer_file", "vocab_file"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class UnsafeReference:
    """A key of a configuration file that refers to something outside of the model's files, or to code."""

    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        """Return the finding as one line."""
        return f"{self.path}: expected {self.expected}, found {self.found}"


def reads(path: str) -> bool:
    """Return whether :func:`unsafe_references` reads a file of that path."""
    return _check_for(path) is not None


def module_kind(reference: str) -> str | None:
    """Return which class of sentence-transformers a type of modules.json is, of :data:`MODULE_KINDS`; None for others.

    Each has several names: those of earlier releases, and those of its packages.
    """
    return _MODULE_KINDS.get(reference)


def unsafe_references(paths: Collection[str], read: Callable[[str, type[Any]], Any]) -> list[UnsafeReference]:
    """Return the references in the configuration of a model that lead outside of its files, or to code.

    Args:
        paths: Every file of the model, relative to its directory.
        read: Returns the content of a JSON file, which has a root of the given type, dict or list.
    """
    return [
        UnsafeReference(path=path, expected=expected, found=found)
        for path in sorted(paths)
        if (check := _check_for(path)) is not None
        for expected, found in check(path, read(path, list if path == MODULES_FILE else dict), paths)
    ]


_Findings: TypeAlias = "Iterator[tuple[str, str]]"


def _check_for(path: str) -> Callable[[str, Any, Collection[str]], _Findings] | None:
    if path == MODULES_FILE:
        return _check_modules
    name = path.rpartition("/")[2]
    return _check_sentence_config if SENTENCE_CONFIG.fullmatch(name) else _CHECKS.get(name)


def _check_index(path: str, values: dict[str, Any], paths: Collection[str]) -> _Findings:
    directory = path.rpartition("/")[0]
    weights = values.get("weight_map")
    for name in sorted({str(value) for value in weights.values()}) if isinstance(weights, dict) else []:
        beside = f"{directory}/{name}" if directory else name
        if not _WEIGHT_FILE.fullmatch(name) or beside not in paths:
            yield "`weight_map` to name weight files of this model", repr(name)


def _check_tokenizer(_path: str, values: dict[str, Any], _paths: Collection[str]) -> _Findings:
    yield from _refused(values, _TOKENIZER_KEYS)
    for key, value in sorted(values.items()):
        is_name = key in ("vocab", "merges") or key.endswith(("_file", "_files"))
        # A bare name as well: it is opened relative to the working directory, not to the model.
        if is_name and isinstance(value, str) and value and key not in _IGNORED_TOKENIZER_KEYS | _TOKENIZER_KEYS:
            yield f"no file name in `{key}`", repr(value)


def _check_config(_path: str, values: dict[str, Any], _paths: Collection[str]) -> _Findings:
    yield from _refused(values, _CONFIG_KEYS)
    yield from _check_implementations(values)
    # Only a Dense module has the first key; in a transformer, the second is a name of the library's own table.
    if "in_features" in values and (name := values.get("activation_function")) is not None and not _is_activation(name):
        yield "`activation_function` to be a class of torch.nn, such as torch.nn.modules.activation.Tanh", repr(name)


def _is_activation(name: object) -> bool:
    return isinstance(name, str) and name in _ACTIVATIONS


def _check_implementations(values: dict[str, Any]) -> _Findings:
    """Look at all depths: a configuration of several parts has one for each."""
    parts: list[tuple[str, object]] = [("", values)]
    while parts:
        place, part = parts.pop()
        inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        for key, value in inner:
            at = f"{place}.{key}" if place else str(key)
            if key in _KERNEL_KEYS and value:
                yield f"no `{at}`", "one, which makes the library load code from the Hub"
            elif isinstance(key, str) and _IMPLEMENTATION_KEY.fullmatch(key) and not _is_known_implementation(value):
                yield f"`{at}` to be eager or sdpa", repr(value)
            else:
                parts.append((at, value))


def _is_known_implementation(value: object) -> bool:
    """Return whether a value is None or a known name, or an object that has one for each part of the model."""
    names = value.values() if isinstance(value, dict) else (value,)
    return all(name is None or (isinstance(name, str) and name in _IMPLEMENTATIONS) for name in names)


def _check_modules(_path: str, entries: list[Any], _paths: Collection[str]) -> _Findings:
    for index, entry in enumerate(entries):
        reference = entry.get("type") if isinstance(entry, dict) else None
        if not isinstance(reference, str) or module_kind(reference) is None:
            yield (
                f"`[{index}].type` to be a module of sentence-transformers ({', '.join(MODULE_KINDS)})",
                repr(reference),
            )


def _refuse_adapter(_path: str, _values: dict[str, Any], _paths: Collection[str]) -> _Findings:
    yield "a whole model", "an adapter, whose base model the library would look up"


def _check_sentence_config(_path: str, values: dict[str, Any], _paths: Collection[str]) -> _Findings:
    arguments, task_key = _TASK_ARGUMENTS
    given = values.get(arguments)
    names_task = isinstance(given, dict) and given.keys() == {task_key} and isinstance(given[task_key], str)
    yield from _refused(values, frozenset(values) - _SENTENCE_KEYS - ({arguments} if names_task else set()))
    task = values.get("transformer_task", "feature-extraction")
    if task != "feature-extraction":
        yield "`transformer_task` to be feature-extraction", repr(task)


def _refused(values: dict[str, Any], keys: frozenset[str]) -> _Findings:
    if _CODE_KEY in values:
        code = "the model brings code of its own (trust_remote_code), and a bundle carries no code"
        yield f"no `{_CODE_KEY}`", f"one: {code}"
    for key in sorted(keys & frozenset(values) - {_CODE_KEY}):
        if values[key] not in (None, {}, [], False):
            yield f"no `{key}`", "one, which the library would follow out of this model's files"


_CHECKS: dict[str, Callable[[str, Any, Collection[str]], _Findings]] = {
    "model.safetensors.index.json": _check_index,
    "tokenizer_config.json": _check_tokenizer,
    "config.json": _check_config,
    "adapter_config.json": _refuse_adapter,
}
