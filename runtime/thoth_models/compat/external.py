"""``ExternalEmbeddingManager``, as thoth-vdbmanager 0.6 and 0.7 and thoth-qdrant 0.1 have it, over the local bundle.

Those encode with a hosted provider. Here nothing is sent anywhere: whoever changes the import moves to the bundle's
vectors, which belong to another embedding space than the provider's, so the index has to be made again. For services
that move in stages there is :func:`thoth_models.switching.choose_embeddings`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, final, overload

from thoth_models.compat.naming import (
    NamedModel,
    contents_of,
    documents_with,
    is_multilingual,
    listed_documents,
    query_text,
)
from thoth_models.errors import EnvironmentFault, InvalidInputError, ThothModelsError
from thoth_models.selection import DEFAULT
from thoth_models.statistics import ModelStats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thoth_models.config import ManagerConfig
    from thoth_models.info import EmbeddingInfo
    from thoth_models.manifest import Model
    from thoth_models.statistics import ManagerStats

PROVIDER_VARIABLE: Final = "EMBEDDING_PROVIDER"
MODEL_VARIABLE: Final = "EMBEDDING_MODEL"
LOCAL: Final = "local"
"""The only provider that there is here."""

_OF_THE_MANAGER: Final = ("provider", "model", "enable_cache", "cache_size")
_OF_HOSTED_PROVIDERS: Final = ("api_key", "api_token", "base_url", "timeout")
_TEXTS_PER_CALL: Final = 1024

_log = logging.getLogger(__name__)


@final
class LocalEmbeddingProvider:
    """One model of the bundle, with the methods of a provider of thoth-vdbmanager. Threads may share it.

    Args:
        model: Name or alias; ``default`` is the bundle's default model where nothing is called that.
        config: Settings of the manager that answers; None for the default ones.

    Raises:
        InvalidInputError: ``model`` is no str.
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
        """How many texts callers should give at once; more are fine as well."""
        return _TEXTS_PER_CALL

    @property
    def info(self) -> EmbeddingInfo | None:
        """Where the model comes from, ``fallback`` with why it is not what the name meant; None until loaded."""
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
        """Return the vector of a query, without the spaces around it.

        Raises:
            InvalidInputError: It is no str, or empty. (A ``ValueError``, as it was.)
            ThothModelsError: The model cannot be loaded; see :func:`load_embedding`.
        """
        text = query_text(query)
        with self._model.use() as embedding:
            vector: list[float] = embedding.encode_query(text).tolist()
            return vector

    async def embed_texts_async(self, texts: Sequence[str]) -> list[list[float]]:
        """Return what :meth:`embed_texts` returns, without keeping the event loop from other work."""
        return await asyncio.to_thread(self.embed_texts, texts)

    def get_dimensions(self) -> int:
        """Return the length of a vector, without loading the model.

        Raises:
            ThothModelsError: Nothing in the bundle may answer, or it cannot be read.
        """
        return self.answering()[0].dimension

    def answering(self) -> tuple[Model, str | None]:
        """Return the model that answers, or would if it were loaded now, and why it is not what the name meant.

        Raises:
            ThothModelsError: Nothing in the bundle may answer, or it cannot be read.
        """
        return self._model.answering()

    def stats(self) -> ManagerStats:
        """Return what the manager that answers did in this process."""
        return self._model.manager.stats()

    def load(self) -> None:
        """Load the model.

        Raises:
            ThothModelsError: It cannot be loaded; see :func:`load_embedding`.
        """
        with self._model.use():
            pass

    def validate_connection(self) -> bool:
        """Load the model, and return whether that worked; why not is logged."""
        try:
            self.load()
        except ThothModelsError as error:
            _log.warning("the model %r cannot be used: %s", self.model, error)
            return False
        return True


class ExternalEmbeddingManager:
    """Vectors as lists of floats, from the bundle. Threads may share it.

    Args:
        provider: Which model; None for ``LocalEmbeddingProvider()``. Its model is loaded now.
        enable_cache: Has no effect: nothing is cached, since encoding a text takes milliseconds and costs nothing.
        cache_size: Has no effect.

    Raises:
        InvalidInputError: ``provider`` is another one, such as one of a hosted service.
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
        """Return a manager as a dict describes it.

        Args:
            config: ``provider``, which must be ``local`` where it is there, and ``model`` (default: ``default``). What
                hosted providers and the cache need is taken, and has no effect: ``api_key``, ``base_url``, ``timeout``,
                ``enable_cache``, ``cache_size``.
            manager_config: Settings of the manager that answers; None for the default ones.

        Raises:
            InvalidInputError: A key is not known, or the provider is another one.
            ThothModelsError: The model cannot be loaded; see :func:`load_embedding`.
        """
        known = (*_OF_THE_MANAGER, *_OF_HOSTED_PROVIDERS)
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
        """Return a manager as the environment describes it.

        ``EMBEDDING_PROVIDER`` must be ``local`` or not set; ``EMBEDDING_MODEL`` is a name or alias of the bundle
        (default: ``default``). Keys of providers are not read.

        Raises:
            EnvironmentFault: The provider is another one.
            ThothModelsError: The model cannot be loaded; see :func:`load_embedding`.
        """
        provider = os.environ.get(PROVIDER_VARIABLE, "").strip() or LOCAL
        if provider.lower() != LOCAL:
            raise EnvironmentFault(f"{PROVIDER_VARIABLE}: expected {LOCAL!r}, found {provider!r}; {_HINT}")
        model = os.environ.get(MODEL_VARIABLE, "").strip() or DEFAULT
        return cls(LocalEmbeddingProvider(model, config=manager_config))

    def encode_texts(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of documents; none for none.

        Raises:
            InvalidInputError: An input is not a str; the message names its index.
            ThothModelsError: The model cannot be loaded again; see :func:`load_embedding`.
        """
        listed = _listed(texts)
        return self.provider.embed_texts(listed) if listed else []

    def encode_query(self, query: str) -> list[float]:
        """Return the vector of a query, without the spaces around it.

        Raises:
            InvalidInputError: It is no str, or empty. (A ``ValueError``, as it was.)
            ThothModelsError: The model cannot be loaded again; see :func:`load_embedding`.
        """
        return self.provider.embed_query(query)

    @overload
    def encode(  # type: ignore[overload-overlap] # a str is an iterable as well, and the first that fits counts
        self, texts: str, **options: object
    ) -> list[float]: ...
    @overload
    def encode(self, texts: Iterable[object] | None, **options: object) -> list[list[float]]: ...
    def encode(self, texts: str | Iterable[object] | None, **options: object) -> list[float] | list[list[float]]:  # noqa: ARG002
        """Return the vector of one text, as :meth:`encode_query`, or those of several, as :meth:`encode_texts`.

        As in thoth-qdrant, ``options`` have no effect, None for all of it gives [], and inputs that are no texts become
        one: None the empty text, anything else ``str(input)``. The latter is logged.
        """
        if isinstance(texts, str):
            return self.encode_query(texts)
        if texts is None:
            return []
        inputs = list(texts)
        if others := sum(not isinstance(text, str) for text in inputs):
            _log.warning("encode: %d of %d inputs are no texts, and were made texts", others, len(inputs))
        return self.encode_texts(["" if text is None else str(text) for text in inputs])

    async def encode_texts_async(self, texts: Sequence[str]) -> list[list[float]]:
        """Return what :meth:`encode_texts` returns, without keeping the event loop from other work."""
        return await asyncio.to_thread(self.encode_texts, texts)

    def encode_documents(self, documents: Iterable[Any]) -> list[Any]:
        """Return Haystack's documents, the same ones, each with its vector as ``embedding``: a list of floats.

        Raises:
            InvalidInputError: One of them is no document; the message names its index.
            ThothModelsError: The model cannot be loaded again; see :func:`load_embedding`.
        """
        listed = listed_documents(documents)
        return documents_with(listed, self.encode_texts(contents_of(listed)))

    def get_model_info(self) -> dict[str, Any]:
        """Return what is known of the model.

        Returns:
            The keys of thoth-vdbmanager: ``provider_name`` (``local``), ``model_name`` (of the model that answers),
            ``embedding_dimension``, ``max_batch_size``, ``cache_enabled`` (False), ``cache_size`` (0), ``is_external``
            (False), ``supports_multilingual`` (whether it is called so; the bundle does not say more); and ``space``
            and ``fallback``, as :class:`EmbeddingInfo` has them.

        Raises:
            ThothModelsError: Nothing in the bundle may answer any more, or it cannot be read.
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
        """Return what the model did in this process, whoever asked it, under thoth-qdrant's keys.

        Returns:
            ``embeddings_generated`` and ``errors`` (counts), ``total_time`` and ``avg_embedding_time`` (seconds), and
            those of the cache, all 0: ``cache_hits``, ``cache_misses``, ``cache_hit_rate``. More is in
            ``EmbeddingManager.stats()``.
        """
        model, _ = self.provider.answering()
        did = self.provider.stats().models.get(model.name, ModelStats())
        return {
            "embeddings_generated": did.texts,
            "cache_hits": 0,
            "cache_misses": 0,
            "total_time": did.encode_seconds,
            "errors": did.failures,
            "cache_hit_rate": 0,
            "avg_embedding_time": did.encode_seconds / did.texts if did.texts else 0,
        }

    @property
    def enable_cache(self) -> bool:
        """False: nothing is cached."""
        return False

    @property
    def cache(self) -> None:
        """None, as it was without a cache."""
        return

    def clear_cache(self) -> None:
        """Do nothing: nothing is cached."""

    def get_cache_stats(self) -> dict[str, Any]:
        """Return ``{"cache_enabled": False}``, as it was without a cache."""
        return {"cache_enabled": False}


def get_external_embedding_manager(
    config: Mapping[str, Any], *, manager_config: ManagerConfig | None = None
) -> ExternalEmbeddingManager:
    """Return ``ExternalEmbeddingManager.from_config(config)``."""
    return ExternalEmbeddingManager.from_config(config, manager_config=manager_config)


_HINT: Final = (
    "nothing is sent to hosted providers here, thoth_models.switching.choose_embeddings switches between the two"
)


def _listed(texts: object) -> list[str]:
    """Return texts as a list; which of them is none is found where they are encoded.

    Raises:
        InvalidInputError: It is one str, or nothing that can be gone through.
    """
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise InvalidInputError(f"texts: expected a list of str, found {type(texts).__name__}")
    return list(texts)
