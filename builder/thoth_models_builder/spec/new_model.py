"""A model that is to be added to a models.yaml: from what a user typed to the text of its entry. Pure.

A source is written as reports print it: ``hub:ORG/NAME@REVISION``, ``wheel:NAME==VERSION!DIRECTORY``, or
``directory:PATH``. The word before the colon may be left out where the rest shows the kind; what could be either a
repository or a directory is never guessed. So may the revision.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from thoth_models_builder.errors import UsageError
from thoth_models_builder.spec.key_types import POOLING_MODES
from thoth_models_builder.spec.models_yaml import DirectorySource, HubSource, ModelSpec, WheelSource
from thoth_models_builder.spec.variants import VARIANTS
from thoth_models_builder.spec.yaml_document import flow_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thoth_models_builder.spec.models_yaml import Source

DEFAULT_VARIANTS: Final = ("onnx-fp32",)
"""Full precision, and no torch where the model runs (decision 0005)."""

_KINDS: Final = ("hub", "wheel", "directory")
_DIRECTORY_START: Final = re.compile(r"\.{1,2}(/|$)|/")
_MAX_NAME: Final = 63

SOURCE_FORMS: Final = (
    "a repository of the Hub (ORG/NAME), a wheel (NAME==VERSION!DIRECTORY in it), or a local directory (./PATH)"
)

_INDENT: Final = 2


def source_of(text: str, *, is_directory: bool = False, revision: str | None = None) -> Source:
    """Return the source that a user named.

    Args:
        text: The source in one of the forms of this module.
        is_directory: Whether the text is also the path of an existing directory.
        revision: Commit, tag or branch of a repository; None for the branch ``main``.

    Raises:
        UsageError: The text has none of the forms, or two of them.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in _KINDS:
        kind, rest = _kind_of(text, is_directory=is_directory), text
    if revision is not None and kind != "hub":
        raise UsageError(f"--revision: expected a repository of the Hub to go with it, found {text!r}")
    try:
        if kind == "wheel":
            requirement, _, path = rest.partition("!")
            return WheelSource(wheel=requirement, path=path)
        if kind == "directory":
            return DirectorySource(directory=rest)
        repository, at, stated = rest.partition("@")
        if at and revision is not None:
            raise UsageError(f"--revision: expected one revision, found {stated!r} and {revision!r}")
        return HubSource(hub=repository, revision=stated if at else revision or "main")
    except ValueError as error:  # pydantic's
        raise UsageError(f"expected {SOURCE_FORMS}, found {text!r}") from error


def _kind_of(text: str, *, is_directory: bool) -> str:
    if "==" in text:
        return "wheel"
    if _DIRECTORY_START.match(text):
        return "directory"
    if is_directory:
        raise UsageError(
            f"expected one meaning, found {text!r}, a directory here and maybe a repository of the Hub: "
            f"write ./{text} or hub:{text}"
        )
    return "hub"


def default_name(source: Source) -> str:
    """Return the name that a person would give to a model: the last part of its id, within the rules for names.

    Raises:
        UsageError: Nothing is left of it.
    """
    name = re.sub(r"[^a-z0-9]+", "-", _last_part(source).lower()).strip("-")[:_MAX_NAME].rstrip("-")
    if not name:
        raise UsageError(f"--name: expected a name for the model, because {_last_part(source)!r} gives none")
    return name


def default_alias(source: Source, name: str) -> str | None:
    """Return the last part of a repository's id, which callers use today, where it differs from the model's name."""
    part = _last_part(source)
    return part if isinstance(source, HubSource) and part != name else None


def _last_part(source: Source) -> str:
    match source:
        case HubSource():
            return source.hub.rpartition("/")[2]
        case WheelSource():
            return source.wheel.partition("==")[0]
        case DirectorySource():
            return source.directory.rstrip("/").rpartition("/")[2]


def new_model(
    source: Source, variants: Sequence[str], aliases: Sequence[str] = (), pooling: Sequence[str] = ()
) -> ModelSpec:
    """Return a model of one source; without ``pooling``, it has no such key.

    Raises:
        UsageError: A variant, an alias or a mode of pooling is not a valid one.
    """
    if unknown := [variant for variant in variants if variant not in VARIANTS]:
        raise UsageError(f"--variant: expected one of {', '.join(VARIANTS)}, found {', '.join(unknown)}")
    if unknown := [mode for mode in pooling if mode not in POOLING_MODES]:
        raise UsageError(f"--pooling: expected one of {', '.join(POOLING_MODES)}, found {', '.join(unknown)}")
    try:
        model = ModelSpec(
            sources=[source], variants=list(dict.fromkeys(variants)) or list(DEFAULT_VARIANTS), aliases=list(aliases)
        )
    except ValueError as error:
        found = ", ".join(map(repr, aliases))
        raise UsageError(f"--alias: expected letters, digits and . _ - /, found {found}") from error
    return model.model_copy(update={"pooling": tuple(dict.fromkeys(pooling))}) if pooling else model


# --- the text of an entry ---


def block_entry(name: str, model: ModelSpec, column: int = 2, step: int = _INDENT) -> list[str]:
    """Return the lines of an entry in block style, without line breaks.

    Args:
        name: Name of the model.
        model: A model with sources, variants, aliases and pooling.
        column: Spaces before the name.
        step: Spaces by which its keys are indented further.
    """
    outer, inner = " " * column, " " * (column + step)
    lines = [f"{outer}{_scalar(name)}:", f"{inner}sources:"]
    lines += [f"{inner}{' ' * step}- {flow_text(_source_document(source))}" for source in model.sources]
    lines.append(f"{inner}variants: {flow_text(model.variants)}")
    if model.aliases:
        lines.append(f"{inner}aliases: {flow_text(model.aliases)}")
    if model.pooling:
        lines.append(f"{inner}pooling: {flow_text(_pooling(model.pooling))}")
    return lines


def flow_entry(name: str, model: ModelSpec, *, as_json: bool) -> str:
    """Return an entry in flow style, ``name: {…}``, or as a member of a JSON object."""
    document: dict[str, Any] = {
        "sources": [_source_document(source) for source in model.sources],
        "variants": list(model.variants),
    }
    if model.aliases:
        document["aliases"] = list(model.aliases)
    if model.pooling:
        document["pooling"] = _pooling(model.pooling)
    if as_json:
        return f"{json.dumps(name)}: {json.dumps(document, ensure_ascii=False)}"
    return f"{_scalar(name)}: {flow_text(document)}"


def _pooling(modes: tuple[str, ...]) -> str | list[str]:
    return modes[0] if len(modes) == 1 else list(modes)


def _source_document(source: Source) -> dict[str, str]:
    return {key: str(value) for key, value in source.model_dump().items()}


def _scalar(value: str) -> str:
    return flow_text([value])[1:-1]
