"""Load embedding models from a verified, read-only bundle: offline, with a deadline, never a hang."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thoth_models.errors import (
    Attempt,
    BackendError,
    BackendUnavailableError,
    BundleError,
    BundleNotFoundError,
    CallerError,
    EnvironmentFault,
    FallbackWarning,
    InvalidInputError,
    LoadTimeout,
    ManifestError,
    ModelUnavailableError,
    OfflineViolation,
    Problem,
    SpaceMismatchError,
    ThothModelsError,
    UnknownModelError,
    UnknownPromptError,
    VerificationError,
)
from thoth_models.info import EmbeddingInfo
from thoth_models.loading import load_embedding
from thoth_models.verify import VerificationReport, verify

if TYPE_CHECKING:
    from thoth_models.embedding import Embedding

__all__ = [
    "Attempt",
    "BackendError",
    "BackendUnavailableError",
    "BundleError",
    "BundleNotFoundError",
    "CallerError",
    "Embedding",
    "EmbeddingInfo",
    "EnvironmentFault",
    "FallbackWarning",
    "InvalidInputError",
    "LoadTimeout",
    "ManifestError",
    "ModelUnavailableError",
    "OfflineViolation",
    "Problem",
    "SpaceMismatchError",
    "ThothModelsError",
    "UnknownModelError",
    "UnknownPromptError",
    "VerificationError",
    "VerificationReport",
    "load_embedding",
    "verify",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import what needs numpy only when it is asked for: a load imports that while it hashes files."""
    if name != "Embedding":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from thoth_models.embedding import Embedding  # noqa: PLC0415

    return Embedding
