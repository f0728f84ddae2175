"""Old names, so that code which called thoth-vdbmanager or thoth-qdrant for embeddings changes one import.

The call shapes and return types are those of the released packages; what answers is the :class:`EmbeddingManager` of
this process, from the verified bundle. New code calls that.

Nothing of this is imported before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thoth_models.compat.containers import DockerModelManager, ModelCache
    from thoth_models.compat.external import (
        ExternalEmbeddingManager,
        LocalEmbeddingProvider,
        get_external_embedding_manager,
    )
    from thoth_models.compat.legacy import LegacyEmbeddingAdapter
    from thoth_models.compat.multilingual import (
        EmbeddingInitializationError,
        MultilingualEmbeddingManager,
        get_multilingual_embedding_manager,
    )
    from thoth_models.detection import CacheStrategy, DownloadStrategy, EnvironmentDetector, Surroundings
    from thoth_models.switching import Hosted, SwitchedEmbeddings, TextEncoder, choose_embeddings

__all__ = [
    "CacheStrategy",
    "DockerModelManager",
    "DownloadStrategy",
    "EmbeddingInitializationError",
    "EnvironmentDetector",
    "ExternalEmbeddingManager",
    "Hosted",
    "LegacyEmbeddingAdapter",
    "LocalEmbeddingProvider",
    "ModelCache",
    "MultilingualEmbeddingManager",
    "Surroundings",
    "SwitchedEmbeddings",
    "TextEncoder",
    "choose_embeddings",
    "get_external_embedding_manager",
    "get_multilingual_embedding_manager",
]

_PLACES = {
    "thoth_models.compat.containers": ("DockerModelManager", "ModelCache"),
    "thoth_models.compat.external": (
        "ExternalEmbeddingManager",
        "LocalEmbeddingProvider",
        "get_external_embedding_manager",
    ),
    "thoth_models.compat.legacy": ("LegacyEmbeddingAdapter",),
    "thoth_models.compat.multilingual": (
        "EmbeddingInitializationError",
        "MultilingualEmbeddingManager",
        "get_multilingual_embedding_manager",
    ),
    "thoth_models.detection": ("CacheStrategy", "DownloadStrategy", "EnvironmentDetector", "Surroundings"),
    "thoth_models.switching": ("Hosted", "SwitchedEmbeddings", "TextEncoder", "choose_embeddings"),
}
_LATER = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import what is in :data:`_LATER`."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415

    return getattr(importlib.import_module(_LATER[name]), name)
