"""Find references in a model's configuration files that would make a library read or run something else.

Pure, except for the function that it is given to read a file. The files of a bundle are compared with the manifest, but
sentence-transformers and transformers follow names *inside* some of them: to a tokenizer elsewhere, to weights in
another directory, to code. The builder refuses such a model, and so does the runtime.
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
_CONFIG_KEYS = frozenset({"transformers_weights"})
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
    return _check_for(path.rpartition("/")[2]) is not None


def unsafe_references(paths: Collection[str], read_object: Callable[[str], dict[str, Any]]) -> list[UnsafeReference]:
    """Return the references in the configuration of a model that lead outside of its files.

    Args:
        paths: Every file of the model, relative to its directory.
        read_object: Returns the content of a JSON file whose root is an object.
    """
    return [
        UnsafeReference(path=path, expected=expected, found=found)
        for path in sorted(paths)
        if (check := _check_for(path.rpartition("/")[2])) is not None
        for expected, found in check(path, read_object(path), paths)
    ]


_Findings: TypeAlias = "Iterator[tuple[str, str]]"


def _check_for(name: str) -> Callable[[str, dict[str, Any], Collection[str]], _Findings] | None:
    if name == "model.safetensors.index.json":
        return _check_index
    if name == "tokenizer_config.json":
        return _check_tokenizer
    if name == "config.json":
        return _check_config
    if SENTENCE_CONFIG.fullmatch(name):
        return _check_sentence_config
    return None


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
