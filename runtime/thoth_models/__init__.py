"""Load embedding models from a verified, read-only bundle: offline, with a deadline, never a hang."""

from __future__ import annotations

from thoth_models.embedding import Embedding, EmbeddingInfo
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
from thoth_models.loading import load_embedding
from thoth_models.verify import VerificationReport, verify

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
