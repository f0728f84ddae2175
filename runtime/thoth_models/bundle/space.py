"""The identity of an embedding space: everything that must be equal for two vectors to be comparable.

Pure. The builder computes it, the manifest records it, and the runtime compares it. All variants of a model share it: a
compiled or quantised graph approximates the same space, and the accuracy gates ensure how closely.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from thoth_models.bundle.canonical_json import canonical_json
from thoth_models.bundle.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCHEME = "thoth-space-1"
"""Part of the hashed document, so that a later scheme cannot collide with this one."""

_SPACE: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceInputs:
    """Everything that decides which vector a text gets.

    Attributes:
        weights: sha256 of each weight file, by path.
        architecture: sha256 of the configuration that says how the weights are used (layer sizes, activation, …), by
            path.
        tokenizer: sha256 of the files that turn text into token ids, by path.
        pooling: How token vectors become one.
        normalize: Whether vectors have unit length.
        max_seq_length: Longest input in tokens, or None for no limit.
        prompts: Prompts by name; a prompt is a string that is added before a text.
        default_prompt_name: Name of the prompt that is used if the caller names none, or None.
        truncate_dim: How many components of a vector are kept, or None for all of them.
    """

    weights: Mapping[str, str]
    architecture: Mapping[str, str]
    tokenizer: Mapping[str, str]
    pooling: str
    normalize: bool
    max_seq_length: int | None
    prompts: Mapping[str, str]
    default_prompt_name: str | None
    truncate_dim: int | None = None


def space_id(inputs: SpaceInputs) -> Digest:
    """Return the identity of the space: the sha256 of the canonical JSON of ``inputs``."""
    document = asdict(inputs)
    if inputs.truncate_dim is None:
        # The key is younger than the scheme; without it, models that keep all components keep their space.
        del document["truncate_dim"]
    return Digest.of(canonical_json({"scheme": _SCHEME, **document}))


def is_space(identity: str) -> bool:
    """Return whether an identity is that of a space of a bundle, and not of a hosted provider."""
    return _SPACE.fullmatch(identity) is not None
