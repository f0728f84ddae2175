"""What small source files of a model say that the manifest does not: architecture, and text of the licence. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from thoth_models_builder.spec.variants import SOURCE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from thoth_models.bundle.manifest import Manifest

MAX_SIZE: Final = 1024 * 1024
"""Bytes of a source file that is read for this; real ones have some thousand."""

_CONFIG: Final = "config.json"
_LICENCE: Final = re.compile(r"(LICEN[CS]E|COPYING)(\.(txt|md))?", re.IGNORECASE | re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFacts:
    """What the source files of a model say.

    Attributes:
        family: ``model_type`` of its configuration, such as ``bert``, or None.
        architecture: The first of its ``architectures``, such as ``BertModel``, or None.
        licence_text: The text of its licence, or None.
    """

    family: str | None = None
    architecture: str | None = None
    licence_text: str | None = None


UNKNOWN: Final = SourceFacts()


def source_prefix(model: str) -> str:
    """Return the source directory of a model below the bundle root, with a slash."""
    return f"{model}/{SOURCE_DIRECTORY}/"


def paths_with_facts(manifest: Manifest, model: str) -> list[str]:
    """Return the source files of a model that say something, sorted, by path below the bundle root."""
    source = source_prefix(model)
    return sorted(
        path
        for path, content in manifest.files.items()
        if path.startswith(source) and content.size <= MAX_SIZE and (_is_config(path) or _is_licence(path, source))
    )


def source_facts(files: Mapping[str, bytes], model: str) -> SourceFacts:
    """Return what source files of a model say, by path below the bundle root. What is malformed says nothing."""
    source = source_prefix(model)
    configuration = next(_configurations(files), {})
    architectures = configuration.get("architectures")
    texts = [data for path, data in sorted(files.items()) if _is_licence(path, source)]
    return SourceFacts(
        family=_name(configuration.get("model_type")),
        architecture=_name(architectures[0]) if isinstance(architectures, list) and architectures else None,
        licence_text=_text(texts[0]) if len(texts) == 1 else None,
    )


def _is_config(path: str) -> bool:
    return path.rpartition("/")[2] == _CONFIG


def _is_licence(path: str, source: str) -> bool:
    return path.startswith(source) and _LICENCE.fullmatch(path.removeprefix(source)) is not None


def _configurations(files: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    """Yield the configurations that state a ``model_type``, as those of transformers do, the top directory's first."""
    for path in sorted(filter(_is_config, files), key=lambda path: (path.count("/"), path)):
        try:
            value = json.loads(files[path])
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and _name(value.get("model_type")) is not None:
            yield value


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and _NAME.fullmatch(value) else None


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
