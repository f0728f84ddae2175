"""``ExternalEmbeddingManager`` of thoth-vdbmanager 0.6 and 0.7 and of thoth-qdrant 0.1, over the local bundle.

The originals encode with a hosted provider. This one sends nothing anywhere: a service that changes the import gets the
bundle's vectors, whose embedding space differs from the provider's, so its index has to be built again. To move in
stages, use :func:`thoth_models.switching.choose_embeddings`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any, Final, final, overload

from thoth_models.bundle.selection import DEFAULT
from thoth_models.compat.named_model import (
    NamedModel,
    contents_of,
    documents_with,
    is_multilingual,
    listed_documents,
    query_text,
)
from thoth_models.errors import EnvironmentFault, InvalidInputError, ThothModelsError
from thoth_models.inputs import expect_items
from thoth_models.manager.stats import ModelStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from thoth_models.bundle.manifest import Model
    from thoth_models.info import EmbeddingInfo
    from thoth_models.manager.config import ManagerConfig
    from thoth_models.manager.stats import ManagerStats

PROVIDER_VARIABLE: Final = "EMBEDDING_PROVIDER"
MODEL_VARIABLE: Final = "EMBEDDING_MODEL"
LOCAL: Final = "local"
"""The only provider that is accepted."""

_MANAGER_KEYS: Final = ("provider", "model", "enable_cache", "cache_size")
_HOSTED_PROVIDER_KEYS: Final = ("api_key", "api_token", "base_url", "timeout")
_TEXTS_PER_CALL: Final = 1024

_log = logging.getLogger(__name__)


@final
class LocalEmbeddingProvider:
    """One model of the bundle, with the interface of a provider of thoth-vdbmanager. Threads may share it.

    Args:
        model: Name or alias; ``default`` means the bundle's default model if nothing has that name.
        config: Settings of the manager; None for the defaults.

    Raises:
        InvalidInputError: ``model`` is not a str.
    """

    def __init__(self, model: str = DEFAULT, *, config: ManagerConfig | None = None) -> None:
        self.model = model
        self._model = NamedModel(model, config)

    @property
    def provider_name(self) -> str:
        """``local``."""
        return LOCAL

    @property
    def max_batch_size(self) -> int:
        """Recommended maximum number of texts in one call; more are accepted."""
        return _TEXTS_PER_CALL

    @property
    def info(self) -> EmbeddingInfo | None:
        """Where the model comes from; None before it is loaded. ``fallback`` is set if the name meant another model."""
        return self._model.info

    def embed_texts(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of documents.

        Raises:
            InvalidInputError: An input is not a str; the message names its index.
            ThothModelsError: The model cannot be loaded; see :func:`load_embedding`.
        """
        with self._model.use() as embedding:
            vectors: list[list[float]] = embedding.encode_document(_listed(texts)).tolist()
            return vectors

    def embed_query(self, query: str) -> list[float]:
        """Return the vector of a query. Leading and trailing whitespace is removed first.

        Raises:
            InvalidInputError: ``query`` is not a str, or empty. (This is a ``ValueError``, as in the original.)
            ThothModelsError: The model cannot be loaded; see :func:`load_embedding`.
        """
        text = query_text(query)
        with self._model.use() as embedding:
            vector: list[float] = embedding.encode_query(text).tolist()
            return vector

    async def embed_texts_async(self, texts: Sequence[str]) -> list[list[float]]:
        """Return what :meth:`embed_texts` returns, without blocking the event loop."""
        return await asyncio.to_thread(self.embed_texts, texts)

    def get_dimensions(self) -> int:
        """Return the length of a vector, without loading the model.

        Raises:
            ThothModelsError: No model of the bundle may answer, or the bundle cannot be read.
        """
        return self.answering()[0].dimension

    def answering(self) -> tuple[Model, str | None]:
        """Return the model that answers, or would if it were loaded now, and why it is another one than the name meant.

        Raises:
            ThothModelsError: No model of the bundle may answer, or the bundle cannot be read.
        """
        return self._model.answering()

    def stats(self) -> ManagerStats:
        """Return the statistics of the manager in this process."""
        return self._model.manager.stats()

    def load(self) -> None:
        """Load the model.

        Raises:
            ThothModelsError: The model cannot be loaded; see :func:`load_embedding`.
        """
        with self._model.use():
            pass

    def validate_connection(self) -> bool:
        """Load the model, and return whether that succeeded; the reason for a failure is logged."""
        try:
            self.load()
        except ThothModelsError as error:
            _log.warning("the model %r cannot be loaded: %s", self.model, error)
            return False
        return True


class ExternalEmbeddingManager:
    """Vectors as lists of floats, from the bundle. Threads may share it.

    Args:
        provider: The model to use; None for ``LocalEmbeddingProvider()``. Its model is loaded immediately.
        enable_cache: Has no effect: nothing is cached, because encoding a text takes milliseconds and is free.
        cache_size: Has no effect.

    Raises:
        InvalidInputError: ``provider`` is not a ``LocalEmbeddingProvider``, but for example that of a hosted service.
        ThothModelsError: The model cannot be loaded; see :func:`load_embedding`.
    """

    def __init__(
        self,
        provider: LocalEmbeddingProvider | None = None,
        enable_cache: bool = True,  # noqa: ARG002, FBT001, FBT002 - the old arguments
        cache_size: int = 10000,  # noqa: ARG002
    ) -> None:
        self.provider = LocalEmbeddingProvider() if provider is None else provider
        if not isinstance(self.provider, LocalEmbeddingProvider):
            raise InvalidInputError(
                f"provider: expected a LocalEmbeddingProvider or None, found {type(provider).__name__}; {_HINT}"
            )
        self.provider.load()

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], *, manager_config: ManagerConfig | None = None
    ) -> ExternalEmbeddingManager:
        """Return a manager for a configuration.

        Args:
            config: ``provider``, if present, must be ``local``; ``model`` is a name or alias (default: ``default``).
                The keys of hosted providers and of the cache are accepted and have no effect: ``api_key``,
                ``api_token``, ``base_url``, ``timeout``, ``enable_cache``, ``cache_size``.
            manager_config: Settings of the manager; None for the defaults.

        Raises:
            InvalidInputError: A key is unknown, or the provider is not ``local``.
            ThothModelsError: The model cannot be loaded; see :func:`load_embedding`.
        """
        known = (*_MANAGER_KEYS, *_HOSTED_PROVIDER_KEYS)
        if unknown := sorted(set(config) - set(known)):
            raise InvalidInputError(
                f"config: expected keys among {', '.join(known)}, found {', '.join(map(repr, unknown))}"
            )
        provider = config.get("provider", LOCAL)
        if provider != LOCAL:
            raise InvalidInputError(f"config['provider']: expected {LOCAL!r}, found {provider!r}; {_HINT}")
        return cls(LocalEmbeddingProvider(config.get("model", DEFAULT), config=manager_config))

    @classmethod
    def from_env(cls, *, manager_config: ManagerConfig | None = None) -> ExternalEmbeddingManager:
        """Return a manager for the environment.

        ``EMBEDDING_PROVIDER`` must be ``local`` or not set; ``EMBEDDING_MODEL`` is a name or alias of the bundle
        (default: ``default``). API keys are not read.

        Raises:
            EnvironmentFault: ``EMBEDDING_PROVIDER`` names another provider.
            ThothModelsError: The model cannot be loaded; see :func:`load_embedding`.
        """
        provider = os.environ.get(PROVIDER_VARIABLE, "").strip() or LOCAL
        if provider.lower() != LOCAL:
            raise EnvironmentFault(f"{PROVIDER_VARIABLE}: expected {LOCAL!r}, found {provider!r}; {_HINT}")
        model = os.environ.get(MODEL_VARIABLE, "").strip() or DEFAULT
        return cls(LocalEmbeddingProvider(model, config=manager_config))

    def encode_texts(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of documents; an empty list for an empty list.

        Raises:
            InvalidInputError: An input is not a str; the message names its index.
            ThothModelsError: The model cannot be loaded again; see :func:`load_embedding`.
        """
        listed = _listed(texts)
        return self.provider.embed_texts(listed) if listed else []

    def encode_query(self, query: str) -> list[float]:
        """Return the vector of a query. Leading and trailing whitespace is removed first.

        Raises:
            InvalidInputError: ``query`` is not a str, or empty. (This is a ``ValueError``, as in the original.)
            ThothModelsError: The model cannot be loaded again; see :func:`load_embedding`.
        """
        return self.provider.embed_query(query)

    @overload
    def encode(  # type: ignore[overload-overlap] # a str is an iterable as well; the first match applies
        self, texts: str, **options: object
    ) -> list[float]: ...
    @overload
    def encode(self, texts: Iterable[object] | None, **options: object) -> list[list[float]]: ...
    def encode(self, texts: str | Iterable[object] | None, **options: object) -> list[float] | list[list[float]]:  # noqa: ARG002
        """Return the vector of one text, as :meth:`encode_query`, or those of several, as :meth:`encode_texts`.

        As in thoth-qdrant, ``options`` have no effect, ``texts=None`` returns [], and an item that is not a str is
        converted: None to the empty string, anything else with ``str()``. Conversions are logged.
        """
        if isinstance(texts, str):
            return self.encode_query(texts)
        if texts is None:
            return []
        inputs = _listed(texts)
        if others := sum(not isinstance(text, str) for text in inputs):
            _log.warning("encode: %d of %d inputs are not str, and were converted", others, len(inputs))
        return self.encode_texts(["" if text is None else str(text) for text in inputs])

    async def encode_texts_async(self, texts: Sequence[str]) -> list[list[float]]:
        """Return what :meth:`encode_texts` returns, without blocking the event loop."""
        return await asyncio.to_thread(self.encode_texts, texts)

    def encode_documents(self, documents: Iterable[Any]) -> list[Any]:
        """Set ``embedding`` of each of Haystack's documents, a list of floats, and return the same documents.

        Raises:
            InvalidInputError: An item is not a document; the message has its index.
            ThothModelsError: The model cannot be loaded again; see :func:`load_embedding`.
        """
        listed = listed_documents(documents)
        return documents_with(listed, self.encode_texts(contents_of(listed)))

    def get_model_info(self) -> dict[str, Any]:
        """Return facts about the model.

        Returns:
            The keys of thoth-vdbmanager: ``provider_name`` (``local``), ``model_name`` (of the model that answers),
            ``embedding_dimension``, ``max_batch_size``, ``cache_enabled`` (False), ``cache_size`` (0), ``is_external``
            (False), ``supports_multilingual`` (whether a name of the model contains "multilingual", which is all that
            a bundle says about languages); and ``space`` and ``fallback``, as in :class:`EmbeddingInfo`.

        Raises:
            ThothModelsError: No model of the bundle may answer any more, or the bundle cannot be read.
        """
        model, fallback = self.provider.answering()
        assert model.built is not None  # noqa: S101 - it answers
        return {
            "provider_name": self.provider.provider_name,
            "model_name": model.name,
            "embedding_dimension": model.dimension,
            "max_batch_size": self.provider.max_batch_size,
            "cache_enabled": False,
            "cache_size": 0,
            "is_external": False,
            "supports_multilingual": is_multilingual(model),
            "space": model.built.space.hex,
            "fallback": fallback,
        }

    def get_metrics(self) -> dict[str, Any]:
        """Return the statistics of the model, of all its callers in this process, under thoth-qdrant's keys.

        Returns:
            ``embeddings_generated`` and ``errors`` (counts), ``total_time`` and ``avg_embedding_time`` (seconds), and
            those of the cache, all 0: ``cache_hits``, ``cache_misses``, ``cache_hit_rate``.
            ``EmbeddingManager.stats()`` has more.
        """
        model, _ = self.provider.answering()
        stats = self.provider.stats().models.get(model.name, ModelStats())
        return {
            "embeddings_generated": stats.texts,
            "cache_hits": 0,
            "cache_misses": 0,
            "total_time": stats.encode_seconds,
            "errors": stats.failures,
            "cache_hit_rate": 0,
            "avg_embedding_time": stats.encode_seconds / stats.texts if stats.texts else 0,
        }

    @property
    def enable_cache(self) -> bool:
        """False: nothing is cached."""
        return False

    @property
    def cache(self) -> None:
        """None, as in the original without a cache."""
        return

    def clear_cache(self) -> None:
        """Do nothing: nothing is cached."""

    def get_cache_stats(self) -> dict[str, Any]:
        """Return ``{"cache_enabled": False}``, as the original does without a cache."""
        return {"cache_enabled": False}


def get_external_embedding_manager(
    config: Mapping[str, Any], *, manager_config: ManagerConfig | None = None
) -> ExternalEmbeddingManager:
    """Return ``ExternalEmbeddingManager.from_config(config)``."""
    return ExternalEmbeddingManager.from_config(config, manager_config=manager_config)


_HINT: Final = (
    "hosted providers are not supported here; thoth_models.switching.choose_embeddings chooses between local and hosted"
)


def _listed(texts: object) -> list[Any]:
    """Return texts as a list. The items are checked when they are encoded.

    Raises:
        InvalidInputError: ``texts`` is a single str, or not an ordered collection.
    """
    return list(expect_items("texts", "a list of str", texts))
