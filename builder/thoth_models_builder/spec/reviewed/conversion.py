"""Which pickles are converted to which safetensors files, and the message to the process that does so. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from thoth_models.bundle.canonical_json import canonical_json, parse_json, safe_path
from thoth_models_builder.spec.variants import path_in

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

CONVERSION_NAME: Final = "conversion.json"
CONVERTED_DIRECTORY: Final = "converted"
"""Directory for the results, named by their index."""
NOT_CONFINED: Final = 3
"""Exit code of a conversion that did not begin, because this machine cannot confine it."""

_WEIGHTS: Final = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
_PICKLE: Final = "pytorch_model.bin"
_SHARD: Final = re.compile(r"pytorch_model-(\d{5})-of-(\d{5})\.bin")
_TARGET: Final = "model.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pickle:
    """A pickle to read.

    Attributes:
        path: Its path in the model's directory.
        file: Its path in the directory of the conversion.
    """

    path: str
    file: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """A file of weights to make.

    Attributes:
        path: Its path in the model's directory.
        pickles: What it is made from.
    """

    path: str
    pickles: tuple[Pickle, ...]


def plan_conversions(paths: Collection[str], directories: Collection[str]) -> tuple[Conversion, ...]:
    """Return the conversions for each directory of a module that has pickled weights and no safetensors.

    Args:
        paths: Every file of the model.
        directories: Directories of its modules; an empty string is the top.
    """
    made: list[Conversion] = []
    for directory in sorted(set(directories)):
        names = {path.rpartition("/")[2] for path in paths if path.rpartition("/")[0] == directory}
        if any(_WEIGHTS.fullmatch(name) for name in names):
            continue
        shards = sorted(name for name in names if _SHARD.fullmatch(name))
        chosen = [_PICKLE] if _PICKLE in names else shards
        if not chosen or (chosen == shards and not _is_complete(shards)):
            continue
        pickles = tuple(
            Pickle(path=path_in(directory, name), file=f"pickles/{len(made)}-{index}")
            for index, name in enumerate(chosen)
        )
        made.append(Conversion(path=path_in(directory, _TARGET), pickles=pickles))
    return tuple(made)


def _is_complete(shards: Sequence[str]) -> bool:
    numbers = [match.groups() for name in shards if (match := _SHARD.fullmatch(name)) is not None]
    count = int(numbers[0][1])
    return [int(number) for number, _ in numbers] == list(range(1, count + 1)) and {n for _, n in numbers} == {
        numbers[0][1]
    }


def conversion_document(conversions: Sequence[Conversion]) -> bytes:
    """Return the canonical JSON of conversions."""
    return canonical_json(
        [{"path": one.path, "pickles": [{"path": p.path, "file": p.file} for p in one.pickles]} for one in conversions]
    )


def conversions_of(data: bytes) -> tuple[Conversion, ...]:
    """Read the JSON of conversions.

    Raises:
        FormatError: The document does not have the form that this release reads; the message names the key.
    """
    return tuple(
        Conversion(
            path=safe_path(keys["path"]),
            pickles=tuple(
                Pickle(path=safe_path(item["path"]), file=safe_path(item["file"])) for item in keys["pickles"].items()
            ),
        )
        for node in parse_json(data).items()
        for keys in [node.members("path", "pickles")]
    )
