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
    ManagerClosedError,
    ManifestError,
    MemoryBudgetError,
    ModelUnavailableError,
    NotPicklableError,
    OfflineViolation,
    Problem,
    SpaceMismatchError,
    ThothModelsError,
    UnknownModelError,
    UnknownPromptError,
    VerificationError,
)
from thoth_models.info import EmbeddingInfo
from thoth_models.loading.load import load_embedding
from thoth_models.verification.verify import VerificationReport, verify

if TYPE_CHECKING:
    from thoth_models.embedding import Embedding
    from thoth_models.manager.config import ManagerConfig
    from thoth_models.manager.manager import EmbeddingManager

__all__ = [
    "Attempt",
    "BackendError",
    "BackendUnavailableError",
    "BundleError",
    "BundleNotFoundError",
    "CallerError",
    "Embedding",
    "EmbeddingInfo",
    "EmbeddingManager",
    "EnvironmentFault",
    "FallbackWarning",
    "InvalidInputError",
    "LoadTimeout",
    "ManagerClosedError",
    "ManagerConfig",
    "ManifestError",
    "MemoryBudgetError",
    "ModelUnavailableError",
    "NotPicklableError",
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


_LATER = {
    "Embedding": "thoth_models.embedding",
    "EmbeddingManager": "thoth_models.manager.manager",
    "ManagerConfig": "thoth_models.manager.config",
}
"""Names that are imported at their first use, so that importing the package stays quick. ``Embedding`` needs numpy,
which a load imports while it hashes files."""


def __getattr__(name: str) -> object:
    """Import the module that defines ``name``, see :data:`_LATER`."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415

    return getattr(importlib.import_module(_LATER[name]), name)
