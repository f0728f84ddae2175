"""For thoth-qdrant 0.1.11: a provider of embeddings, and the store that takes one.

The factory of that release makes hosted providers by name and nothing else, and so does its store. A provider is taken
by ``ExternalEmbeddingManager``; for the store, one method has to be another, which is what the class here is for.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar, Final, final
from urllib.parse import urlsplit

from thoth_models.adapters.serving import missing
from thoth_models.adapters.spaces import RECORD, SpaceEncoder
from thoth_models.errors import InvalidInputError, SpaceMismatchError
from thoth_models.selection import DEFAULT

try:
    from qdrant_client import models
    from thoth_qdrant.adapter.qdrant_native import QdrantNativeAdapter
    from thoth_qdrant.core.embedding_manager import EmbeddingProvider, ExternalEmbeddingManager
except ImportError as error:
    raise missing("thoth-qdrant", "thoth-qdrant") from error

if TYPE_CHECKING:
    from thoth_qdrant import BaseThothDocument, ThothType

    from thoth_models.adapters.spaces import Kind, Space
    from thoth_models.config import ManagerConfig

MAX_BATCH_SIZE: Final = 256
"""What the provider states; any number of texts is taken."""

_ALIAS: Final = "thoth-models.space."
"""With this begins the alias that says which space a collection keeps. Client 1.15.1, which thoth-qdrant was made for,
knows no metadata of collections; an alias belongs to its collection, goes with it, and is no point among the others."""


@final
class ThothEmbeddingProvider(EmbeddingProvider):  # type: ignore[misc]  # it publishes no types
    """Vectors of a model of the bundle, as thoth-qdrant asks for them: plain lists of floats.

    Args:
        model: Name or alias; ``default`` is the bundle's default model where nothing is called that.
        config: Settings of the manager; None for the default ones.
        space: The space that the vectors must belong to; None for that of the model that answers first.

    Raises:
        InvalidInputError: ``model`` is no name.
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
        """Most texts that should be given at once."""
        return MAX_BATCH_SIZE

    @property
    def space(self) -> str:
        """The space that all vectors belong to; loads the model if none was given, and nothing has been encoded yet."""
        if self._space is None:
            self._space = self._known().identity
        return self._space

    def embed_texts(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of documents.

        Raises:
            InvalidInputError: A text is not a str; the message names its index.
            SpaceMismatchError: Another space would answer.
            ThothModelsError: The model cannot be loaded.
        """
        return self._encode(_listed(texts), "document")

    def embed_query(self, query: str) -> list[float]:
        """Return the vector of a query."""
        if not isinstance(query, str):
            raise InvalidInputError(f"query: expected a str, found {type(query).__name__}")
        return self._encode([query], "query")[0]

    async def embed_texts_async(self, texts: list[str]) -> list[list[float]]:
        """Return what :meth:`embed_texts` returns, without keeping the event loop from other work."""
        # All of it in the thread: making a hundred thousand floats of an array takes longer than a loop can wait.
        return await self._encoder.manager.in_thread(functools.partial(self.embed_texts, texts))

    def validate_connection(self) -> bool:
        """Load the model, which is all the connection there is, and return True.

        Raises:
            SpaceMismatchError: Another space would answer.
            ThothModelsError: It cannot be loaded. Where False is returned, thoth-qdrant says nothing of the reason.
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
    """The store of thoth-qdrant, with vectors of a model of the bundle, in a collection that keeps their space.

    What is different from the store of the release:

    - no provider of embeddings, key or address is looked for in the environment;
    - the collection keeps the space of its vectors, in an alias, and is refused where that is another one;
    - a single document is encoded as a document, not as a query;
    - ``search_similar`` raises what goes wrong, where the release logs it and finds nothing, and uses a request that
      clients from 1.16 on have as well.

    Args:
        collection: Name of the collection.
        host: Where the server is.
        port: Its port.
        api_key: Its key.
        url: Host and port in one, ``http://host:port``; with a key, ``https://host:port``: its client then uses TLS.
        model: Name or alias of the model.
        config: Settings of the manager; None for the default ones.
        adopt: Take a collection that keeps no space for one of this model's. Whoever says so knows what made it.

    Raises:
        ConnectionError: There is no server.
        SpaceMismatchError: The collection keeps another space, or none.
        InvalidInputError: The store of this collection was made in this process with another model or other settings.
        ThothModelsError: The model cannot be loaded.
    """

    # thoth-qdrant has one store for each collection and address of a process; these are not among its own.
    _instances: ClassVar[dict[str, Any]] = {}

    def __new__(  # noqa: PYI034 - nothing is made of a class below this one
        cls,
        collection: str,
        host: str = "localhost",
        port: int = 6333,
        api_key: str | None = None,
        url: str | None = None,
        **_: object,
    ) -> ThothQdrantStore:
        """Return the store of this process for the collection at that address, which ``url`` may say as well."""
        host, port = _address(host, port, api_key, url)
        store: ThothQdrantStore = super().__new__(cls, collection, host, port, api_key)
        return store

    def __init__(  # noqa: PLR0913 - what connects is what thoth-qdrant takes, by the same names
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
                    f"store of {collection!r}: expected the model {self._asked_for[0]!r} and the settings that it was "
                    f"made with in this process, found {model!r} or other settings"
                )
            return
        self._asked_for: tuple[str, ManagerConfig | None, bool] = (model, config, adopt)
        self._adopt = adopt
        self._provider = ThothEmbeddingProvider(model, config)
        super().__init__(collection, host, port, api_key, embedding_provider="thoth-models", embedding_model=model)

    def _create_external_embedding_manager(self) -> Any:  # noqa: ANN401 - no types
        # Without its cache: 10,000 lists of numbers for what costs nothing, and queries and documents in one.
        return ExternalEmbeddingManager(self._provider, enable_cache=False)

    def ensure_collection_exists(self) -> None:
        """Make the collection where there is none, or compare the space that it keeps.

        Raises:
            SpaceMismatchError: It keeps another one, or none.
        """
        name, space = self.collection_name, self._provider.space
        kept = self._kept() if self.client.collection_exists(name) else []
        super().ensure_collection_exists()
        if not kept:
            alias = models.CreateAlias(collection_name=name, alias_name=f"{_ALIAS}{space}.{name}")
            self.client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])

    def search_similar(
        self, query: str, doc_type: ThothType, top_k: int = 5, score_threshold: float = 0.7
    ) -> list[BaseThothDocument]:
        """Return the documents of a type that are nearest to a query, the best first.

        Raises:
            SpaceMismatchError: Another space would answer.
            Exception: Whatever the client raises.
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

    def _kept(self) -> list[str]:
        """Return the spaces that the collection keeps: this one, or none where that is to be adopted."""
        name, space = self.collection_name, self._provider.space
        config = self.client.get_collection(name).config
        aliases = (alias.alias_name for alias in self.client.get_collection_aliases(name).aliases)
        kept = [alias.removeprefix(_ALIAS).partition(".")[0] for alias in aliases if alias.startswith(_ALIAS)]
        # What thoth_models.adapters.qdrant keeps, which clients from 1.16 on show.
        record = (getattr(config, "metadata", None) or {}).get(RECORD)
        if isinstance(record, dict):
            kept.append(str(record.get("space")))
        if any(found != space for found in kept) or not (kept or self._adopt):
            what = ", ".join(kept) or "none (adopt=True takes it for one of this space)"
            raise SpaceMismatchError(
                f"collection {name!r}: expected the embedding space {space} of {self.model!r}, found {what}"
            )
        vectors, dimension = config.params.vectors, self._provider.get_dimensions()
        if not isinstance(vectors, models.VectorParams) or vectors.size != dimension:
            raise SpaceMismatchError(f"collection {name!r}: expected vectors of length {dimension}, found {vectors!r}")
        return kept

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._provider.model


def _address(host: str, port: int, api_key: str | None, url: str | None) -> tuple[str, int]:
    """Return where the server is, as thoth-qdrant understands it: it takes host and port out of a URL, and no more.

    Raises:
        InvalidInputError: ``url`` says something else than what would be connected to.
    """
    if not url:
        return host, port
    parts, scheme = urlsplit(url), "http" if api_key is None else "https"
    if parts.scheme != scheme or parts.hostname is None or parts.path.strip("/") or parts.username is not None:
        raise InvalidInputError(
            f"url: expected {scheme}://host:port, which is what thoth-qdrant 0.1.11 connects to "
            f"{'without' if api_key is None else 'with'} a key, found {url!r}"
        )
    return parts.hostname, parts.port or port


def _listed(texts: object) -> list[str]:
    if not isinstance(texts, (list, tuple)):
        raise InvalidInputError(f"texts: expected a list of str, found {type(texts).__name__}")
    return list(texts)
