"""Where a loaded model comes from. Free of numpy, so that importing the package stays quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from thoth_models.errors import Attempt

MAX_RELEASE: Final = 2**53 - 1
"""The largest number of a release: the largest integer that every reader of JSON keeps exact (RFC 8259, section 6)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingInfo:
    """Where an :class:`Embedding` comes from.

    Attributes:
        requested: Name as the caller gave it, or the default model's.
        model: Name of the model that answers.
        variant: Name of its variant.
        revision: Commit of the model's origin, or None if that has no commits.
        space: Identity of the embedding space, 64 hexadecimal digits. Never mix two in one index.
        bundle_digest: sha256 of the bundle's manifest, 64 hexadecimal digits.
        fallback: None if the requested model answers, else why another one does.
        attempts: Every variant that was considered before and not used, each with its reason.
        golden_cosine: Smallest cosine between the vectors that this process computed for two golden texts, when it
            loaded the model, and their references; None for a model without golden vectors.
        verify_seconds: Time spent comparing files with the manifest, failed attempts included.
        load_seconds: Time spent importing libraries and making the model, failed attempts included.
        release: Number of the bundle's release, or None if it states none.
    """

    requested: str
    model: str
    variant: str
    revision: str | None
    space: str
    bundle_digest: str
    fallback: str | None
    attempts: tuple[Attempt, ...]
    golden_cosine: float | None
    verify_seconds: float
    load_seconds: float
    release: int | None = None
