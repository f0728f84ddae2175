"""The number formats of stored weights: which of them a library reads as the numbers that they stand for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAX_LISTED: Final = 20
"""How many tensors or tokens a message names; a missing layer of BERT has 16 tensors."""

_MAX_HEADER: Final = 100_000_000
"""Longest header in bytes, the limit of safetensors itself
(https://github.com/huggingface/safetensors/blob/main/safetensors/src/tensor.rs)."""

_FLOATS: Final = ("BF16", "F16", "F32", "F64")
"""Number formats of weights, by their names in safetensors. What is stored in another one is read as if its integers
were the weights, while their scale is in other tensors or in a configuration."""

_POSITIONS: Final = re.compile(r"(^|\.)position_ids$")
"""What older checkpoints have of every architecture with such positions; transformers leaves it out of its report."""

_MAPPING: Final = "mapping"
TABLE: Final = "embedding.weight"
"""The tensor of a StaticEmbedding, as sentence-transformers calls it."""
MODEL2VEC: Final = frozenset(["embeddings", _MAPPING, "weights"])
"""The tensors of one that model2vec wrote; sentence-transformers makes one table of them. All are weights but the
mapping, which has the number of a row for each token."""


def format_faults(module: Any, place: Path, directory: Path) -> Iterator[str]:  # noqa: ANN401
    """Yield a line for each file with weights that are not floating-point numbers of 16 bits or more.

    Args:
        module: A module, or the encoder in it, with weights.
        place: The directory of its checkpoint.
        directory: The directory of the model.
    """
    weights = _Weights.of(module)
    if not weights.floating:
        return
    for file in _files(place):
        shown = file.relative_to(directory).as_posix()
        try:
            stored = stored_formats(file)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            # The library has not read it either, or it would have refused it.
            yield f"{shown}: expected a file of safetensors, found another one ({error})"
            continue
        if wrong := {name: kind for name, kind in stored.items() if not weights.may_be(name, kind)}:
            names = listed(f"{name} as {wrong[name]}" for name in wrong)
            yield f"{shown}: expected weights as {', '.join(_FLOATS)}, found {names}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Weights:
    """Which tensors of a module's checkpoint are weights.

    Attributes:
        floating: Names of the module's tensors of floating-point numbers that a checkpoint has.
        others: Names of its other tensors: masks, positions, and what is computed when the module is made.
        ignored: What the library ignores in a checkpoint.
    """

    floating: frozenset[str]
    others: frozenset[str]
    ignored: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def of(cls, module: Any) -> _Weights:  # noqa: ANN401
        stored = module.state_dict()
        floating = frozenset(name for name, tensor in stored.items() if tensor.is_floating_point())
        if floating == {TABLE}:
            return cls(floating=floating | MODEL2VEC - {_MAPPING}, others=frozenset({_MAPPING}))
        others = frozenset({*stored, *(name for name, _ in module.named_buffers())}) - floating
        ignored = map(re.compile, getattr(module, "_keys_to_ignore_on_load_unexpected", None) or ())
        return cls(floating=floating, others=others, ignored=(_POSITIONS, *ignored))

    def may_be(self, name: str, kind: str) -> bool:
        """Return whether a tensor of the checkpoint may have that number format.

        A name that fits no tensor may be that of a weight before the library renames it.
        """
        if kind in _FLOATS:
            return True
        if _is_among(name, self.floating):
            return False
        return _is_among(name, self.others) or any(pattern.search(name) for pattern in self.ignored)


def _is_among(name: str, names: frozenset[str]) -> bool:
    """Return whether a name is among others, with or without a prefix such as ``bert.`` that one side may lack."""
    return any(name == own or name.endswith(f".{own}") or own.endswith(f".{name}") for own in names)


def _files(place: Path) -> list[Path]:
    """Return the files of weights in a directory, and those that an index of shards names elsewhere."""
    shards = (
        json.loads(index.read_bytes()).get("weight_map", {}).values()
        for index in place.glob("*.safetensors.index.json")
    )
    named = {place / name for names in shards for name in names}
    return sorted({*place.glob("*.safetensors"), *filter(Path.is_file, named)})


def stored_formats(file: Path) -> dict[str, str]:
    """Return the number format of each tensor of a safetensors file, by name, from its header.

    The file: the length of the header in eight bytes, little-endian; the header, which is JSON; the data.

    Raises:
        ValueError: The header is longer than safetensors allows, or not JSON. Other errors of reading a value of
            another type are not converted.
    """
    with file.open("rb") as data:
        length = int.from_bytes(data.read(8), "little")
        if length > _MAX_HEADER:
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(data.read(length))
    return {name: str(tensor["dtype"]) for name, tensor in header.items() if name != "__metadata__"}


def unreadable_weights(directory: Path) -> list[str]:
    """Return a line for each file of weights that safetensors refuses; its own errors do not name the file."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - only after a load has failed

    found = []
    for file in sorted(directory.rglob("*.safetensors")):
        try:
            with safe_open(file, framework="np"):
                pass
        except (OSError, SafetensorError) as error:
            found.append(f"{file.relative_to(directory).as_posix()}: expected a file of safetensors, found {error}")
    return found


def listed(names: Iterable[str]) -> str:
    """Return how many there are, and the first of them."""
    every = sorted(names)
    more = f" and {len(every) - _MAX_LISTED} more" if len(every) > _MAX_LISTED else ""
    return f"{len(every)}: {', '.join(every[:_MAX_LISTED])}{more}"
