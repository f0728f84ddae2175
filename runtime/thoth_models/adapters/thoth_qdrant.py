"""thoth-qdrant 0.1.11: an embedding provider, and a store that uses it.

In that release, both the factory and the store create hosted providers by name and accept no other provider. Its
``ExternalEmbeddingManager`` does accept one. :class:`ThothQdrantStore` overrides the store's method that creates it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar, Final, final
from urllib.parse import urlsplit

from thoth_models.adapters.serving import missing
from thoth_models.adapters.spaces import RECORD, SpaceEncoder
from thoth_models.bundle.selection import DEFAULT
from thoth_models.errors import InvalidInputError, SpaceMismatchError

try:
    from qdrant_client import models
    from thoth_qdrant.adapter.qdrant_native import QdrantNativeAdapter
    from thoth_qdrant.core.embedding_manager import EmbeddingProvider, ExternalEmbeddingManager
except ImportError as error:
    raise missing("thoth-qdrant", "thoth-qdrant") from error

if TYPE_CHECKING:
    from thoth_qdrant import BaseThothDocument, ThothType

    from thoth_models.adapters.spaces import Kind, Space
    from thoth_models.manager.config import ManagerConfig

MAX_BATCH_SIZE: Final = 256
"""The batch size that the provider reports to thoth-qdrant; it accepts any number of texts."""

_ALIAS: Final = "thoth-models.space."
"""Prefix of the alias that records the space of a collection. Client 1.15.1, which thoth-qdrant was made for, does not
support metadata of collections. An alias belongs to its collection, is deleted with it, and adds no point to it."""


@final
class ThothEmbeddingProvider(EmbeddingProvider):  # type: ignore[misc]  # it publishes no types
    """A model of the bundle as an embedding provider of thoth-qdrant; vectors are lists of floats.

    Args:
        model: Name or alias; ``default`` means the bundle's default model if nothing has that name.
        config: Settings of the manager; None for the defaults.
        space: The space that the vectors must belong to; None for that of the model that answers first.

    Raises:
        InvalidInputError: ``model`` is not a str.
    """

    def __init__(self, model: str = DEFAULT, config: ManagerConfig | None = None, *, space: str | None = None) -> None:
        self._encoder = SpaceEncoder(model, config)
        self._space = space
        self._facts: Space | None = None

    @property
    def model(self) -> str:
        """Name of the model, for logs."""
        return self._encoder.model

    @property
    def provider_name(self) -> str:
        """Name of the provider, for logs."""
        return "thoth-models"

    @property
    def max_batch_size(self) -> int:
        """Recommended maximum number of texts in one call."""
        return MAX_BATCH_SIZE

    @property
    def space(self) -> str:
        """The space that all vectors belong to. If it is not known yet, reading it loads the model."""
        if self._space is None:
            self._space = self._known().identity
        return self._space

    def embed_texts(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of documents.

        Raises:
            InvalidInputError: A text is not a str; the message names its index.
            SpaceMismatchError: The model that answers has another space.
            ThothModelsError: The model cannot be loaded.
        """
        return self._encode(_listed(texts), "document")

    def embed_query(self, query: str) -> list[float]:
        """Return the vector of a query."""
        if not isinstance(query, str):
            raise InvalidInputError(f"query: expected a str, found {type(query).__name__}")
        return self._encode([query], "query")[0]

    async def embed_texts_async(self, texts: list[str]) -> list[list[float]]:
        """Return what :meth:`embed_texts` returns, without blocking the event loop."""
        # The whole call in the thread: converting an array to a hundred thousand floats would block the loop too.
        return await self._encoder.manager.in_thread(functools.partial(self.embed_texts, texts))

    def validate_connection(self) -> bool:
        """Load the model and return True; there is no connection to check.

        Raises:
            SpaceMismatchError: The model that answers has another space.
            ThothModelsError: The model cannot be loaded. This raises instead of returning False, for which
                thoth-qdrant would not report the reason.
        """
        self._encode([""], "document")
        return True

    def get_dimensions(self) -> int:
        """Return the length of a vector."""
        return self._known().dimension

    def _known(self) -> Space:
        if self._facts is None:
            self._facts = self._encoder.space()
        return self._facts

    def _encode(self, texts: list[str], kind: Kind) -> list[list[float]]:
        found: list[list[float]] = self._encoder.encode(texts, kind, self.space, "this provider").tolist()
        return found


class ThothQdrantStore(QdrantNativeAdapter):  # type: ignore[misc]  # it publishes no types
    """The store of thoth-qdrant, with vectors of a model of the bundle, in a collection that records their space.

    It differs from the store of the release in that:

    - it does not read a provider, key or address from the environment;
    - the collection records the space of its vectors, in an alias, and is refused if that is another space;
    - a single document is encoded as a document, not as a query;
    - ``search_similar`` raises errors, which the release logs before it returns nothing; and it sends a request that
      clients from 1.16 on support as well.

    Args:
        collection: Name of the collection.
        host: Host name of the server.
        port: Port of the server.
        api_key: API key of the server.
        url: Host and port in one, ``http://host:port``; with a key ``https://host:port``, because the client of
            thoth-qdrant then uses TLS.
        model: Name or alias of the model.
        config: Settings of the manager; None for the defaults.
        adopt: Treat a collection that records no space as one of this model. The caller must know that this model
            computed its vectors.

    Raises:
        ConnectionError: The server does not answer.
        SpaceMismatchError: The collection has another space, or has vectors and records none.
        InvalidInputError: This process has a store of the same collection with another model or other settings.
        ThothModelsError: The model cannot be loaded.
    """

    # thoth-qdrant keeps one store per collection and address in this dict; ours must not mix with its own.
    _instances: ClassVar[dict[str, Any]] = {}

    def __new__(  # noqa: PYI034 - not meant to be subclassed
        cls,
        collection: str,
        host: str = "localhost",
        port: int = 6333,
        api_key: str | None = None,
        url: str | None = None,
        **_: object,
    ) -> ThothQdrantStore:
        """Return this process's store for the collection at that address."""
        host, port = _address(host, port, api_key, url)
        store: ThothQdrantStore = super().__new__(cls, collection, host, port, api_key)
        return store

    def __init__(  # noqa: PLR0913 - the arguments of thoth-qdrant's store, by the same names
        self,
        collection: str,
        host: str = "localhost",
        port: int = 6333,
        api_key: str | None = None,
        url: str | None = None,
        *,
        model: str = DEFAULT,
        config: ManagerConfig | None = None,
        adopt: bool = False,
    ) -> None:
        host, port = _address(host, port, api_key, url)
        if hasattr(self, "_initialized"):
            if (model, config, adopt) != self._asked_for:
                raise InvalidInputError(
                    f"store of {collection!r}: expected the model {self._asked_for[0]!r} and the settings with which "
                    f"this process created the store, found {model!r} or other settings"
                )
            return
        self._asked_for: tuple[str, ManagerConfig | None, bool] = (model, config, adopt)
        self._adopt = adopt
        self._provider = ThothEmbeddingProvider(model, config)
        super().__init__(collection, host, port, api_key, embedding_provider="thoth-models", embedding_model=model)

    def _create_external_embedding_manager(self) -> Any:  # noqa: ANN401 - no types
        # Without its cache, which holds 10,000 lists of numbers to save little, and confuses queries with documents.
        return ExternalEmbeddingManager(self._provider, enable_cache=False)

    def ensure_collection_exists(self) -> None:
        """Create the collection, or check the space of the one that exists.

        Raises:
            SpaceMismatchError: The collection has another space, or has vectors and records none.
        """
        name, space = self.collection_name, self._provider.space
        recorded = self._recorded_spaces() if self.client.collection_exists(name) else []
        super().ensure_collection_exists()
        if not recorded:
            alias = models.CreateAlias(collection_name=name, alias_name=f"{_ALIAS}{space}.{name}")
            self.client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])

    def search_similar(
        self, query: str, doc_type: ThothType, top_k: int = 5, score_threshold: float = 0.7
    ) -> list[BaseThothDocument]:
        """Return the documents of a type that are nearest to a query, best first.

        Raises:
            SpaceMismatchError: The model that answers has another space.
            Exception: Any error that the Qdrant client raises.
        """
        if not query:
            return []
        of_type = models.FieldCondition(key="thoth_type", match=models.MatchValue(value=doc_type.value))
        found = self.client.query_points(
            self.collection_name,
            query=self.embedding_manager.encode_query(query),
            query_filter=models.Filter(must=[of_type]),
            limit=top_k,
            score_threshold=score_threshold,
        )
        documents = (self._payload_to_document(point.payload) for point in found.points)
        return [document for document in documents if document is not None]

    def _add_document_with_embedding(self, doc: BaseThothDocument) -> str:
        (added,) = self.bulk_add_documents([doc])
        return str(added)

    def _recorded_spaces(self) -> list[str]:
        """Return the spaces that the collection records: only this model's, or none if it is empty or to be adopted."""
        name, space = self.collection_name, self._provider.space
        collection = self.client.get_collection(name)
        config = collection.config
        aliases = (alias.alias_name for alias in self.client.get_collection_aliases(name).aliases)
        recorded = [alias.removeprefix(_ALIAS).partition(".")[0] for alias in aliases if alias.startswith(_ALIAS)]
        # The record of thoth_models.adapters.qdrant, which clients from 1.16 on return.
        record = (getattr(config, "metadata", None) or {}).get(RECORD)
        if isinstance(record, dict):
            recorded.append(str(record.get("space")))
        # Without vectors it is of no space yet: another process has created it, and is about to record its own.
        is_empty = collection.points_count == 0
        if any(found != space for found in recorded) or not (recorded or self._adopt or is_empty):
            what = ", ".join(recorded) or "none (adopt=True treats it as one of this space)"
            raise SpaceMismatchError(
                f"collection {name!r}: expected the embedding space {space} of {self.model!r}, found {what}"
            )
        vectors, dimension = config.params.vectors, self._provider.get_dimensions()
        if not isinstance(vectors, models.VectorParams) or vectors.size != dimension:
            raise SpaceMismatchError(f"collection {name!r}: expected vectors of length {dimension}, found {vectors!r}")
        return recorded

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._provider.model


def _address(host: str, port: int, api_key: str | None, url: str | None) -> tuple[str, int]:
    """Return host and port; thoth-qdrant takes only these two from a URL.

    Raises:
        InvalidInputError: ``url`` has another scheme than the client would use, a path, or a user.
    """
    if not url:
        return host, port
    scheme, stated_port = "http" if api_key is None else "https", None
    try:
        parts = urlsplit(url)
        is_address = parts.scheme == scheme and not parts.path.strip("/") and parts.username is None
        stated_host, stated_port = parts.hostname, parts.port
    except ValueError:  # of brackets, or a port out of range
        is_address, stated_host = False, None
    if not is_address or stated_host is None:
        raise InvalidInputError(
            f"url: expected {scheme}://host:port, which is what thoth-qdrant 0.1.11 connects to "
            f"{'without' if api_key is None else 'with'} a key, found {url!r}"
        )
    return stated_host, stated_port or port


def _listed(texts: object) -> list[str]:
    if not isinstance(texts, (list, tuple)):
        raise InvalidInputError(f"texts: expected a list of str, found {type(texts).__name__}")
    return list(texts)
