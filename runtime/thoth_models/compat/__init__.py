"""The embedding interfaces of thoth-vdbmanager and thoth-qdrant, so that code which uses them changes only an import.

Signatures and return types are those of the released packages. Behind them is the :class:`EmbeddingManager` of this
process, with the verified bundle; new code should use that directly.

Names are imported lazily, when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thoth_models.compat.docker_manager import DockerModelManager, ModelCache
    from thoth_models.compat.environment_detector import (
        CacheStrategy,
        DownloadStrategy,
        EnvironmentDetector,
        Surroundings,
    )
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

_MODULES = {
    "thoth_models.compat.docker_manager": ("DockerModelManager", "ModelCache"),
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
    "thoth_models.compat.environment_detector": (
        "CacheStrategy",
        "DownloadStrategy",
        "EnvironmentDetector",
        "Surroundings",
    ),
    "thoth_models.switching": ("Hosted", "SwitchedEmbeddings", "TextEncoder", "choose_embeddings"),
}
_LAZY_IMPORTS = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import the module that defines ``name``, see :data:`_LAZY_IMPORTS`."""
    if name not in _LAZY_IMPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415

    return getattr(importlib.import_module(_LAZY_IMPORTS[name]), name)
