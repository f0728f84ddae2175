"""Files of published models that are rewritten, because the library would read more out of them than is meant. Pure.

Four rules, none of which changes a vector that the published model can give:

- ``"path": "."`` in modules.json, which all models of model2vec have, is the top directory, as ``""`` is;
- arguments for loading in sentence_bert_config.json that decide speed or memory, not the result, are dropped;
- ``auto_map`` in config.json is dropped where transformers has the architecture itself, and keys that only the code
  reads become those of transformers (:mod:`..architectures`);
- a maximum length beyond the positions that the architecture is known to have becomes the number of positions: longer
  texts fail in the published model, and are cut here.

The bytes of the origin stay what the lock names. Each file that is rewritten has a reason, which is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from thoth_models.bundle.canonical_json import canonical_json
from thoth_models.bundle.unsafe_references import SENTENCE_CONFIG
from thoth_models_builder.bundle.architectures import lacks_auto_map, native_form, without_auto_map
from thoth_models_builder.bundle.published.positions import positions_of
from thoth_models_builder.errors import UnsupportedModelError
from thoth_models_builder.spec.variants import MODULES_FILE, path_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from thoth_models_builder.bundle.model_files import ModelFiles
    from thoth_models_builder.bundle.published.positions import Positions

_ARGUMENTS: Final = ("model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs")
TASK_ARGUMENTS: Final = "model_args"
TASK_KEY: Final = "default_task"
"""Where a first module of the model's own finds its task if a call names none, as jina-embeddings-v3 does."""
_KERNELS: Final = frozenset({"sdpa", "eager", "flash_attention_2", "flash_attention_3"})
_PRECISIONS: Final = frozenset(
    {"auto", "float32", "float16", "bfloat16", "torch.float32", "torch.float16", "torch.bfloat16"}
)


def _one_of(known: frozenset[str], value: object) -> bool:
    """Return whether a value is one of those known, or an object that has one for each part of the model."""
    values = value.values() if isinstance(value, dict) else (value,)
    return all(isinstance(one, str) and one in known for one in values)


_HARMLESS: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "attn_implementation": (lambda value: _one_of(_KERNELS, value), "kernels of one formula"),
    "torch_dtype": (lambda value: _one_of(_PRECISIONS, value), "the variant decides the precision"),
    "dtype": (lambda value: _one_of(_PRECISIONS, value), "the variant decides the precision"),
    "trust_remote_code": (lambda value: isinstance(value, bool), "the library ignores it in this file"),
    "use_safetensors": (lambda value: isinstance(value, bool), "a bundle has safetensors alone"),
    "safe_serialization": (lambda value: isinstance(value, bool), "which file of weights the published code reads"),
    "low_cpu_mem_usage": (lambda value: isinstance(value, bool), "memory while loading"),
    "device_map": (lambda value: value is None or isinstance(value, str), "where it runs"),
    "add_pooling_layer": (lambda value: value is False, "the pooler of transformers is not used"),
    "use_cache": (lambda value: isinstance(value, bool), "one text is one pass"),
    "use_fast": (lambda value: value is True, "the default"),
}
"""Arguments that do not change a vector: which values do not, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repair:
    """A file that is rewritten.

    Attributes:
        data: Its bytes.
        reason: What was changed, and why, as one line.
    """

    data: bytes
    reason: str


def repairs(files: ModelFiles, *, has_code: bool = False) -> dict[str, Repair]:
    """Return the files of a published model that a bundle has in another form, by path.

    Args:
        files: The files of the model as published.
        has_code: Whether code of the model's own is run, so that its architecture is not what its files call it.

    Raises:
        UnsupportedModelError: A file is malformed, an argument for loading is not known to be harmless, or the model
            needs its own code.
    """
    changed: dict[str, Repair] = {}
    directory = ""
    if MODULES_FILE in files.digests:
        entries = files.json(MODULES_FILE, list)
        changed |= _modules(entries)
        first = entries[0].get("path") if entries and isinstance(entries[0], dict) else ""
        directory = _plain(first) if isinstance(first, str) else ""
    config_path = path_in(directory, "config.json")
    config = files.optional_object(config_path)
    changed |= {} if has_code else _architecture(config, config_path)
    settings = [
        path
        for path in sorted(files.digests)
        if path.rpartition("/")[0] == directory and SENTENCE_CONFIG.fullmatch(path.rpartition("/")[2])
    ]
    if len(settings) == 1:
        limit = None if has_code else positions_of(config)
        changed |= _settings(files.json(settings[0], dict), settings[0], limit, has_code=has_code)
    return changed


def with_repairs(files: ModelFiles, *, has_code: bool = False) -> ModelFiles:
    """Return the files of a published model as a bundle has them; takes what :func:`repairs` takes.

    Raises:
        UnsupportedModelError: See :func:`repairs`.
    """
    for path, repair in repairs(files, has_code=has_code).items():
        files = files.changed(path, repair.data)
    return files


def _plain(directory: str) -> str:
    """Return a directory of modules.json, empty for the model's own."""
    return "" if directory in (".", "./") else directory


def _modules(entries: list[Any]) -> dict[str, Repair]:
    stated = [entry.get("path") if isinstance(entry, dict) else None for entry in entries]
    before = [path for path in stated if isinstance(path, str) and _plain(path) != path]
    if not before:
        return {}
    changed = [
        {**entry, "path": _plain(path)} if isinstance(path, str) else entry
        for entry, path in zip(entries, stated, strict=True)
    ]
    found = ", ".join(map(repr, dict.fromkeys(before)))
    reason = f"path {found} is the directory of the model itself"
    return {MODULES_FILE: Repair(data=canonical_json(changed), reason=reason)}


def _architecture(config: Mapping[str, Any], path: str) -> dict[str, Repair]:
    is_lacking = lacks_auto_map(config)
    if not config.get("auto_map") and not is_lacking:
        return {}
    try:
        plain = without_auto_map(config)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(str(error).replace("config.json", path, 1)) from error
    form = native_form(config)
    changed = "with the keys of transformers" if is_lacking else "without auto_map"
    reason = "" if form is None else f"{changed} ({form.code}): {form.reason} ({form.source})"
    return {path: Repair(data=canonical_json(plain), reason=reason)}


def _settings(settings: Mapping[str, Any], path: str, limit: Positions | None, *, has_code: bool) -> dict[str, Repair]:
    kept, reasons = dict(settings), []
    for key in _ARGUMENTS:
        if key not in kept:
            continue
        arguments = kept.pop(key)
        if not isinstance(arguments, dict):
            raise UnsupportedModelError(f"{path}: {key}: expected an object, found {arguments!r}")
        if has_code and key == TASK_ARGUMENTS and isinstance(arguments.get(TASK_KEY), str):
            # What the code computes if a call names no task; it changes vectors, and code reads it.
            kept[key] = {TASK_KEY: arguments[TASK_KEY]}
            arguments = {name: value for name, value in arguments.items() if name != TASK_KEY}
            if not arguments:
                continue
        names = []
        for name, value in sorted(arguments.items()):
            if name not in _HARMLESS or not _HARMLESS[name][0](value):
                known = ", ".join(sorted(_HARMLESS))
                raise UnsupportedModelError(
                    f"{path}: {key}.{name}: expected only arguments that do not change vectors ({known}), found "
                    f"{value!r}; name a copy of the model in which that is settled as the source"
                )
            names.append(f"{name} ({_HARMLESS[name][1]})")
        reasons.append(f"without {key}: {', '.join(names)}" if names else f"without {key}, which is empty")
    maximum = kept.get("max_seq_length")
    if limit is not None and limit.is_table and isinstance(maximum, int) and maximum > limit.tokens:
        kept["max_seq_length"] = limit.tokens
        reasons.append(f"max_seq_length {limit.tokens} in place of {maximum}: {limit.reason}, longer texts fail")
    return {path: Repair(data=canonical_json(kept), reason="; ".join(reasons))} if reasons else {}
