"""What code outside of this repository imports."""

from __future__ import annotations

PUBLIC = {
    "thoth_models": (
        *("Embedding", "EmbeddingInfo", "EmbeddingManager", "ManagerConfig", "VerificationReport"),
        *("load_embedding", "verify", "__version__"),
        *("Attempt", "BackendError", "BackendUnavailableError", "BundleError", "BundleNotFoundError", "CallerError"),
        *("EnvironmentFault", "FallbackWarning", "InvalidInputError", "LoadTimeout", "ManagerClosedError"),
        *("ManifestError", "MemoryBudgetError", "ModelUnavailableError", "NotPicklableError", "OfflineViolation"),
        *("Problem", "SpaceMismatchError", "ThothModelsError", "UnknownModelError", "UnknownPromptError"),
        "VerificationError",
    ),
    "thoth_models.errors": (
        *("Attempt", "BackendError", "BackendUnavailableError", "BundleError", "BundleNotFoundError", "CallerError"),
        *("EnvironmentFault", "FallbackWarning", "InvalidInputError", "LoadTimeout", "ManagerClosedError"),
        *("ManifestError", "MemoryBudgetError", "ModelUnavailableError", "NotPicklableError", "OfflineViolation"),
        *("Problem", "SpaceMismatchError", "ThothModelsError", "UnknownModelError", "UnknownPromptError"),
        "VerificationError",
    ),
    "thoth_models.compat": (
        *("CacheStrategy", "DockerModelManager", "DownloadStrategy", "EmbeddingInitializationError"),
        *("EnvironmentDetector", "ExternalEmbeddingManager", "Hosted", "LegacyEmbeddingAdapter"),
        *("LocalEmbeddingProvider", "ModelCache", "MultilingualEmbeddingManager", "Surroundings"),
        *("SwitchedEmbeddings", "TextEncoder", "choose_embeddings", "get_external_embedding_manager"),
        "get_multilingual_embedding_manager",
    ),
    "thoth_models.switching": ("Hosted", "SwitchedEmbeddings", "TextEncoder", "choose_embeddings"),
    "thoth_models.adapters.chroma": ("NAME", "SPACE", "ThothEmbeddingFunction", "open_collection"),
    "thoth_models.adapters.haystack": ("ThothDocumentEmbedder", "ThothTextEmbedder"),
    "thoth_models.adapters.langchain": ("ThothEmbeddings",),
    "thoth_models.adapters.llama_index": ("ThothEmbedding",),
    "thoth_models.adapters.qdrant": ("BATCH_SIZE", "AsyncThothCollection", "ThothCollection", "text_id"),
    "thoth_models.adapters.thoth_qdrant": ("ThothEmbeddingProvider", "ThothQdrantStore"),
    "thoth_models_builder": ("__version__",),
}
"""What code outside of this repository imports, by module: none of it moves or goes without a major version."""
