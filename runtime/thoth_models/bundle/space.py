"""The identity of an embedding space: what must be equal for two vectors to be comparable.

Pure. Computed by the builder, recorded in the manifest, compared by the runtime. All variants of a model share it: a
compiled or quantised graph approximates the same space, and the accuracy gates say how well.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from thoth_models.canonical import canonical_json
from thoth_models.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCHEME = "thoth-space-1"
"""Part of the hashed document, so that a later way of computing the identity cannot collide with this one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceInputs:
    """Everything that decides which vector a text gets.

    Attributes:
        weights: sha256 of each weight file, by path.
        architecture: sha256 of what says how the weights are used (layer sizes, activation, …), by path.
        tokenizer: sha256 of what turns text into token ids, by path.
        pooling: How token vectors become one.
        normalize: Whether vectors come out with unit length.
        max_seq_length: Longest input in tokens, or None where there is no limit.
        prompts: Text put before an input, by prompt name.
        default_prompt_name: Prompt used where the caller names none, or None.
    """

    weights: Mapping[str, str]
    architecture: Mapping[str, str]
    tokenizer: Mapping[str, str]
    pooling: str
    normalize: bool
    max_seq_length: int | None
    prompts: Mapping[str, str]
    default_prompt_name: str | None


def space_id(inputs: SpaceInputs) -> Digest:
    """Return the identity of the space: the sha256 of the canonical JSON of ``inputs``."""
    return Digest.of(canonical_json({"scheme": _SCHEME, **asdict(inputs)}))
