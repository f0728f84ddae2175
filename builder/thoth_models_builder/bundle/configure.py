"""Derive the files that a bundle ships from those of the origin and the keys of models.yaml.

Pure. The result is again a directory that plain ``SentenceTransformer(path)`` loads, so all that follows (facts, the
embedding space, compiled variants, ``torch-fp32``) comes from these files alone, and needs to know of no key. Files
that are written are canonical JSON: the same origin and the same keys give the same bytes.

Each of :data:`RULES` returns the changes for one reason. A rule sees what the rules before it changed; it may also
refuse the model. Reasons are in the manifest, so that a bundle never differs from its origin silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from thoth_models.bundle.canonical_json import canonical_json
from thoth_models.bundle.digest import ContentHasher
from thoth_models.bundle.model import ConfiguredFile
from thoth_models_builder.bundle.describe import (
    WIDTH_KEYS,
    find_settings,
    read_max_seq_length,
    read_modules,
    read_pooling_modes,
    read_prompts,
    read_token_width,
    read_width,
)
from thoth_models_builder.bundle.published.positions import refuse_beyond_positions
from thoth_models_builder.bundle.published.repairs import TASK_ARGUMENTS, TASK_KEY, repairs
from thoth_models_builder.errors import UnsupportedKeyError, UnsupportedModelError
from thoth_models_builder.spec.models_yaml import HubSource
from thoth_models_builder.spec.variants import BUILT_IN_PROMPTS, MODULES_FILE, SENTENCE_TRANSFORMERS_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from thoth_models.bundle.digest import ContentDigest
    from thoth_models_builder.bundle.describe import ModelFacts
    from thoth_models_builder.bundle.model_files import ModelFiles
    from thoth_models_builder.spec.models_yaml import ModelSpec

_POOLING_DIRECTORY: Final = "1_Pooling"
_SETTINGS_FILE: Final = "sentence_bert_config.json"
_CONFIG_FILE: Final = "config.json"

_NO_MODULES: Final = (
    f"{MODULES_FILE}: expected this file, or `pooling` in models.yaml, found neither. sentence-transformers would "
    "silently assume mean pooling (of the last token for a causal language model), which may not be what the model was "
    "trained with: look it up in its card, and write for example `pooling: mean` or `pooling: cls` "
    "(`thoth-bundle add --pooling` does)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A change of one file.

    Attributes:
        path: Path in the model's source directory.
        data: Its new content.
        reason: What is changed, and why, in words for the owner of the bundle.
    """

    path: str
    data: bytes
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """A line for the author of models.yaml, printed by ``lock``."""

    text: str


Rule: TypeAlias = "Callable[[ModelFiles, ModelSpec], Iterator[Change | Note]]"
"""Returns what to change in files, which the rules before may have changed, because of the keys of a model.

Raises:
    UnsupportedModelError: The files do not allow what a key asks for, or a bundle cannot contain them.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """The source files of a model as a bundle ships them.

    Attributes:
        files: All of them.
        configured: Those that differ from the origin, sorted by path.
        written: New content of each changed or added file, by path.
        contents: Digest and size of each of these, by path.
        notes: Lines for the author of models.yaml.
    """

    files: ModelFiles
    configured: tuple[ConfiguredFile, ...]
    written: Mapping[str, bytes]
    contents: Mapping[str, ContentDigest]
    notes: tuple[str, ...]


def configure(files: ModelFiles, model: ModelSpec) -> Configuration:
    """Return the files of the origin as the keys of a model change them.

    Args:
        files: The locked files.
        model: The model as specified.

    Raises:
        UnsupportedModelError: The files do not allow what a key asks for, or a bundle cannot contain them.
    """
    effective = files
    latest: dict[str, bytes] = {}
    reasons: dict[str, list[str]] = {}
    notes: list[str] = []
    for rule in RULES:
        for found in tuple(rule(effective, model)):
            if isinstance(found, Note):
                notes.append(found.text)
                continue
            effective = effective.changed(found.path, found.data)
            latest[found.path] = found.data
            reasons.setdefault(found.path, []).append(found.reason)
    # Several changes may have led back to the content of the origin.
    paths = [path for path in sorted(latest) if effective.digests.get(path) != files.digests.get(path)]
    written = {path: latest[path] for path in paths}
    return Configuration(
        files=effective,
        configured=tuple(
            ConfiguredFile(path=path, origin=files.digests.get(path), reasons=tuple(reasons[path])) for path in paths
        ),
        written=written,
        contents={path: _content_of(data) for path, data in written.items()},
        notes=tuple(notes),
    )


def _content_of(data: bytes) -> ContentDigest:
    hasher = ContentHasher(len(data))
    hasher.update(data)
    return hasher.finish()


def settings_of(model: ModelSpec) -> dict[str, object]:
    """Return all of a model's specification that :data:`RULES` read, by name: equal files and these give equal results.

    Part of the cache key of a compilation. Sources are not in it as such, because a mirror has the same files; what a
    rule knows by the name of a source is.
    """
    named = _instructor_name(model)
    return {**model.source_settings(), **({} if named is None else {"known_as": named})}


def has_unit_length(model: ModelSpec, facts: ModelFacts) -> bool:
    """Return whether vectors are made unit length unless the caller says otherwise; resolves ``normalize: auto``."""
    if model.normalize == "auto":
        return facts.has_normalize or facts.similarity == "cosine"
    return model.normalize


def notes_on(model: ModelSpec, facts: ModelFacts) -> tuple[str, ...]:
    """Return lines for the author of models.yaml on what the keys do to the vectors of a model."""
    if model.normalize is True and facts.similarity != "cosine" and not facts.has_normalize:
        note = (
            f"published for {_SIMILARITIES[facts.similarity]}, with vectors that are not of unit length: "
            "`normalize: true`, the default, changes their lengths, and so which texts are nearest; "
            "`normalize: auto` or `false` keeps them as published"
        )
        return (note,)
    return ()


_SIMILARITIES: Final = {
    "dot": "the dot product",
    "euclidean": "the Euclidean distance",
    "manhattan": "the Manhattan distance",
}


# --- the rules ---


def _published(files: ModelFiles, model: ModelSpec) -> Iterator[Change | Note]:
    """Rewrite what the library would read more out of than is meant, such as ``auto_map`` that is not needed."""
    for path, repair in repairs(files, has_code=bool(model.code)).items():
        yield Change(path=path, data=repair.data, reason=repair.reason)


def _pooling(files: ModelFiles, model: ModelSpec) -> Iterator[Change | Note]:
    """Write modules.json and the configuration of pooling for a plain repository of the transformers library."""
    wanted = model.pooling
    if MODULES_FILE in files.digests:
        if wanted is not None and wanted != (published := read_pooling_modes(files, read_modules(files))):
            raise UnsupportedKeyError(
                f"pooling: expected {_listed(published)}, as the model's own files say ({MODULES_FILE}), or no such "
                f"key, found {_listed(wanted)}"
            )
        return
    if wanted is None:
        raise UnsupportedKeyError(_NO_MODULES)
    stated = read_token_width(files, _CONFIG_FILE)
    if stated is None:
        raise UnsupportedModelError(
            f"{_CONFIG_FILE}: expected the length of a token's vector under one of {', '.join(WIDTH_KEYS)}, found none"
        )
    reason = f"pooling: {_listed(wanted)} (models.yaml); the origin has no {MODULES_FILE}"
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate((("", "Transformer"), (_POOLING_DIRECTORY, "Pooling")))
    ]
    yield Change(path=MODULES_FILE, data=canonical_json(modules), reason=reason)
    pooling = {
        "embedding_dimension": stated[1],
        "include_prompt": True,
        "pooling_mode": wanted[0] if len(wanted) == 1 else list(wanted),
    }
    yield Change(path=f"{_POOLING_DIRECTORY}/{_CONFIG_FILE}", data=canonical_json(pooling), reason=reason)


def _instructor(files: ModelFiles, model: ModelSpec) -> Iterator[Change | Note]:
    """Write what the library knows of a model by its name on the Hub, which a directory does not have."""
    named = _instructor_name(model)
    if named is None:
        return
    pooling = next((module for module in read_modules(files) if module.kind == "Pooling"), None)
    if pooling is None or not files.optional_object(path := pooling.path(_CONFIG_FILE)).get("include_prompt", True):
        return
    data = canonical_json({**files.json(path, dict), "include_prompt": False})
    reason = f"include_prompt: false, which sentence-transformers assumes for {named} by its name"
    yield Change(path=path, data=data, reason=reason)


def _instructor_name(model: ModelSpec) -> str | None:
    return min({source.hub for source in model.sources if isinstance(source, HubSource)} & _INSTRUCTOR, default=None)


_INSTRUCTOR: Final = frozenset({"hkunlp/instructor-base", "hkunlp/instructor-large", "hkunlp/instructor-xl"})
"""Models whose prompts are not pooled, although their files do not say so."""


def _prompts(files: ModelFiles, model: ModelSpec) -> Iterator[Change | Note]:
    """Write prompts and the name of the default one in place of the published ones."""
    settings = model.source_settings()
    config = files.optional_object(SENTENCE_TRANSFORMERS_FILE)
    # With the key, malformed ones are put right.
    prompts = read_prompts(config) if model.prompts is None else model.prompts
    known = dict.fromkeys((*BUILT_IN_PROMPTS, *prompts))
    changes: dict[str, object] = {}
    if model.prompts is not None and prompts != (config.get("prompts") or {}):
        changes["prompts"] = dict(prompts)
    default = config.get("default_prompt_name")
    if "default_prompt_name" in settings:
        if model.default_prompt_name not in (None, *known):
            raise UnsupportedKeyError(
                f"default_prompt_name: expected one of {', '.join(known)}, found {model.default_prompt_name!r}"
            )
        if model.default_prompt_name != default:
            changes["default_prompt_name"] = model.default_prompt_name
    elif model.prompts is not None and default is not None and default not in list(known):
        raise UnsupportedKeyError(
            f"prompts: expected {default!r} among them, which the model uses by default, or `default_prompt_name` "
            f"(null for none), found {', '.join(prompts) or 'no prompts'}"
        )
    if changes:
        yield _merged(files, SENTENCE_TRANSFORMERS_FILE, changes)


def _truncation(files: ModelFiles, model: ModelSpec) -> Iterator[Change | Note]:
    """Write how many components of a vector are kept."""
    wanted = model.truncate_dim
    if wanted is None:
        return
    width = read_width(files, read_modules(files))
    if wanted > width:
        raise UnsupportedKeyError(f"truncate_dim: expected at most {width}, the length of a vector, found {wanted}")
    if wanted != files.optional_object(SENTENCE_TRANSFORMERS_FILE).get("truncate_dim", width):
        yield _merged(files, SENTENCE_TRANSFORMERS_FILE, {"truncate_dim": wanted})


def _max_seq_length(files: ModelFiles, model: ModelSpec) -> Iterator[Change | Note]:
    """Write the longest input, within the positions of the model."""
    wanted = model.max_seq_length
    if wanted is None:
        return
    transformer = read_modules(files)[0]
    if transformer.kind != "Transformer":
        raise UnsupportedKeyError(f"max_seq_length: expected no such key, because a {transformer.kind} has no limit")
    if not model.code:
        refuse_beyond_positions(files.json(transformer.path(_CONFIG_FILE), dict), wanted)
    settings = find_settings(files, transformer) or transformer.path(_SETTINGS_FILE)
    try:
        published = read_max_seq_length(files, transformer)
    except UnsupportedModelError:
        published = None  # not stated, or malformed, which the key puts right
    if wanted == published:
        return
    if published is not None and wanted > published:
        yield Note(
            text=f"max_seq_length: {wanted} is more than the published {published}; the model may not have been "
            "trained with texts of that length"
        )
    yield _merged(files, settings, {"max_seq_length": wanted})


def _positions(files: ModelFiles, model: ModelSpec) -> Iterator[Change | Note]:
    """Refuse a longest input that is published, and that the architecture has no positions for."""
    transformer = read_modules(files)[0]
    if transformer.kind == "Transformer" and not model.code:
        config = files.json(transformer.path(_CONFIG_FILE), dict)
        refuse_beyond_positions(config, read_max_seq_length(files, transformer))
    return iter(())


_TASK_LISTS: Final = ("lora_adaptations", "task_names")
"""What the configurations of published models call the list of their tasks."""


def _task(files: ModelFiles, model: ModelSpec) -> Iterator[Change | Note]:
    """Write the task of a model whose first module computes something else for each, by an argument of each call."""
    is_stated, wanted = "task" in model.source_settings(), model.task
    if not (model.code and _takes_task(files)):
        if is_stated:
            raise UnsupportedKeyError(
                f"task: expected no such key, because the model has no code whose first module takes a task (`kwargs` "
                f"in {MODULES_FILE}), found {wanted!r}"
            )
        return
    transformer = read_modules(files)[0]
    stated = [files.json(transformer.path(_CONFIG_FILE), dict).get(key) for key in _TASK_LISTS]
    known = next((names for names in stated if isinstance(names, list) and names), None)
    choice = "the name of one" if known is None else f"one of {', '.join(map(str, known))}"
    path = find_settings(files, transformer) or transformer.path(_SETTINGS_FILE)
    settings = files.optional_object(path)
    published = settings.get(TASK_ARGUMENTS, {}).get(TASK_KEY)
    if not is_stated and published is None:
        raise UnsupportedKeyError(
            f"task: expected {choice}, because the first module takes a task with each call ({MODULES_FILE}: "
            "[0].kwargs), and a bundle has one graph; found no such key: write for example "
            f"`task: {'text-matching' if known is None else known[-1]}`, or `task: null` for what the code does "
            "without one"
        )
    if wanted is not None and known is not None and wanted not in known:
        raise UnsupportedKeyError(f"task: expected {choice}, found {wanted!r}")
    task = wanted if is_stated else published
    if task != published:
        others = {key: value for key, value in settings.items() if key != TASK_ARGUMENTS}
        data = canonical_json({**others, **({} if task is None else {TASK_ARGUMENTS: {TASK_KEY: task}})})
        yield Change(path=path, data=data, reason=f"task: {'null' if task is None else task} (models.yaml)")
    library = files.optional_object(SENTENCE_TRANSFORMERS_FILE)
    if task is not None and read_prompts(library).get(task) and library.get("default_prompt_name") != task:
        yield Note(
            text=f"task: the model has a prompt for {task}, which calls that name no prompt do not add; "
            f"`default_prompt_name: {task}` makes them add it"
        )


def _takes_task(files: ModelFiles) -> bool:
    entries = files.json(MODULES_FILE, list)
    first = entries[0] if entries and isinstance(entries[0], dict) else {}
    keywords = first.get("kwargs")
    return isinstance(keywords, list) and "task" in keywords


RULES: Final[tuple[Rule, ...]] = (
    *(_published, _pooling, _instructor, _prompts, _truncation, _max_seq_length, _positions, _task),
)
"""In this order; the first ones add what the others read."""


def _merged(files: ModelFiles, path: str, values: Mapping[str, object]) -> Change:
    """Return the change that replaces keys of a JSON object, which is created if it does not exist."""
    shown = ", ".join(f"{key}: {canonical_json(value).decode().strip()}" for key, value in sorted(values.items()))
    data = canonical_json({**files.optional_object(path), **values})
    return Change(path=path, data=data, reason=f"{shown} (models.yaml)")


def _listed(modes: tuple[str, ...]) -> str:
    return modes[0] if len(modes) == 1 else f"[{', '.join(modes)}]"
