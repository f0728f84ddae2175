"""What a model's configuration files must not say, because a library would then read or run something else.

Pure but for the function it is given to read a file with. The files of a bundle are compared with the manifest; but
sentence-transformers and transformers follow names *inside* some of them, to a tokenizer elsewhere, to weights in
another directory, to code. The builder refuses such a model, and the runtime does not load one either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

SENTENCE_CONFIG = re.compile(r"sentence_[a-z-]+_config\.json")
"""Settings of the first module: one name per architecture, from the first years of sentence-transformers."""

_WEIGHT_FILE = re.compile(r"model-\d{5}-of-\d{5}\.safetensors|model\.safetensors")

# What may stand in sentence_bert_config.json; anything else would be passed on to constructors that open paths.
_SENTENCE_KEYS = frozenset(
    {"max_seq_length", "do_lower_case", "transformer_task", "modality_config", "module_output_name", "unpad_inputs"}
)
_CODE_KEY = "auto_map"
_CONFIG_KEYS = frozenset({"transformers_weights"})
_TOKENIZER_KEYS = frozenset({"fast_tokenizer_files", "gguf_file", "init_inputs", "tokenizer_object"})
# Published models carry these with paths of the machine they were made on; transformers puts its own in their place.
_IGNORED_TOKENIZER_KEYS = frozenset(
    {"special_tokens_map_file", "tokenizer_config_file", "tokenizer_file", "vocab_file"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class UnsafeReference:
    """A key of a configuration file that leads outside of the model's files, or to code."""

    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        """Return the finding as one line."""
        return f"{self.path}: expected {self.expected}, found {self.found}"


def reads(path: str) -> bool:
    """Tell whether :func:`unsafe_references` reads a file of that path."""
    return _check_for(path.rpartition("/")[2]) is not None


def unsafe_references(paths: Collection[str], read_table: Callable[[str], dict[str, Any]]) -> list[UnsafeReference]:
    """Return what in the configuration of a model leads outside of its files.

    Args:
        paths: Every file of the model, relative to its directory.
        read_table: Returns a JSON file that holds a table.
    """
    return [
        UnsafeReference(path=path, expected=expected, found=found)
        for path in sorted(paths)
        if (check := _check_for(path.rpartition("/")[2])) is not None
        for expected, found in check(path, read_table(path), paths)
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


def _check_index(path: str, table: dict[str, Any], paths: Collection[str]) -> _Findings:
    directory = path.rpartition("/")[0]
    weights = table.get("weight_map")
    for name in sorted({str(value) for value in weights.values()}) if isinstance(weights, dict) else []:
        beside = f"{directory}/{name}" if directory else name
        if not _WEIGHT_FILE.fullmatch(name) or beside not in paths:
            yield "`weight_map` to name weight files of this model", repr(name)


def _check_tokenizer(_path: str, table: dict[str, Any], _paths: Collection[str]) -> _Findings:
    yield from _refused(table, _TOKENIZER_KEYS)
    for key, value in sorted(table.items()):
        is_name = key in ("vocab", "merges") or key.endswith(("_file", "_files"))
        # Also a bare name: it is opened as it stands, and so found in the working directory, not in the model.
        if is_name and isinstance(value, str) and value and key not in _IGNORED_TOKENIZER_KEYS | _TOKENIZER_KEYS:
            yield f"no file name in `{key}`", repr(value)


def _check_config(_path: str, table: dict[str, Any], _paths: Collection[str]) -> _Findings:
    yield from _refused(table, _CONFIG_KEYS)


def _check_sentence_config(_path: str, table: dict[str, Any], _paths: Collection[str]) -> _Findings:
    yield from _refused(table, frozenset(table) - _SENTENCE_KEYS)
    task = table.get("transformer_task", "feature-extraction")
    if task != "feature-extraction":
        yield "`transformer_task` to be feature-extraction", repr(task)


def _refused(table: dict[str, Any], keys: frozenset[str]) -> _Findings:
    if _CODE_KEY in table:
        code = "the model brings code of its own (trust_remote_code), and a bundle carries no code"
        yield f"no `{_CODE_KEY}`", f"one: {code}"
    for key in sorted(keys & frozenset(table) - {_CODE_KEY}):
        if table[key] not in (None, {}, [], False):
            yield f"no `{key}`", "one, which the library would follow out of this model's files"
