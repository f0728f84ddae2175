"""Qdrant: write and search texts with the caller's own client, in collections that record their embedding space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, final

from thoth_models.adapters.qdrant_points import (
    batches,
    creation,
    expect_adoptable,
    expect_same,
    expect_written,
    points_of,
    record,
    recorded_space,
    text_id,
)
from thoth_models.adapters.serving import missing
from thoth_models.adapters.spaces import SpaceEncoder
from thoth_models.bundle.selection import DEFAULT
from thoth_models.errors import EnvironmentFault, InvalidInputError, NotPicklableError
from thoth_models.inputs import expect_text
from thoth_models.references import SharedObject

try:
    from qdrant_client import AsyncQdrantClient, QdrantClient
except ImportError as error:
    raise missing("The client of Qdrant", "qdrant") from error

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Iterator, Mapping

    from qdrant_client import models

    from thoth_models.manager.config import ManagerConfig

__all__ = ["BATCH_SIZE", "AsyncThothCollection", "ThothCollection", "text_id"]

BATCH_SIZE: Final = 256
"""How many texts are encoded and sent at once: with 384 numbers each, a request is about 2 MB of JSON."""

C = TypeVar("C", QdrantClient, AsyncQdrantClient)


class _Collection(SharedObject, Generic[C]):
    """What the synchronous and the asynchronous collection share."""

    def __init__(
        self,
        client: C,
        name: str,
        model: str = DEFAULT,
        config: ManagerConfig | None = None,
        *,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        size: object = batch_size
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise InvalidInputError(f"batch_size: expected an integer of at least 1, found {batch_size!r}")
        self.client: C = client
        self.name = name
        self._encoder = SpaceEncoder(model, config)
        self._batch_size = batch_size
        self._where = f"Qdrant collection {name!r}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Refuse to be pickled, for the connections of the client.

        Raises:
            NotPicklableError: Always.
        """
        kind = type(self).__name__
        raise NotPicklableError(
            f"expected a {kind} that stays in the process of its client, found that of {self.name!r} to be pickled; "
            f"make a client and a {kind} in the other process"
        )

    def _batches(
        self,
        texts: Iterable[str],
        payloads: Iterable[Mapping[str, Any] | None] | None,
        ids: Iterable[models.ExtendedPointId | uuid.UUID] | None,
        text_key: str | None,
    ) -> Iterator[tuple[list[str], list[models.ExtendedPointId], list[dict[str, Any]]]]:
        return batches(texts, payloads, ids, size=self._batch_size, text_key=text_key)


@final
class ThothCollection(_Collection[QdrantClient]):
    """A collection of Qdrant that is written and searched with texts; as thread-safe as its client.

    The collection records the embedding space of its vectors in its metadata. Every request that writes or searches
    first compares it with the space of the model that answers, because the name may be an alias that was redirected.

    Args:
        client: The caller's own client; this class never closes it.
        name: Name of the collection, or an alias.
        model: Name or alias of the model; ``default`` means the bundle's default model if nothing has that name.
        config: Settings of the manager; None for the defaults.
        batch_size: How many texts are encoded and sent at once.

    Raises:
        InvalidInputError: An argument is not valid.
    """

    def create(self, **options: Any) -> bool:  # noqa: ANN401 - the options of the client's create_collection
        """Create the collection for vectors of this model, unless it exists; return whether it was created.

        Args:
            options: Options of ``create_collection``, except ``vectors_config``.

        Warns:
            FallbackWarning: The fallback is a model of another space; the collection then records that space.

        Raises:
            SpaceMismatchError: The collection exists, and has another space or records none.
            EnvironmentFault: The server does not store metadata. The collection is removed again.
            ThothModelsError: The model cannot be loaded.
        """
        space = self._encoder.space()
        if not self.client.collection_exists(self.name):
            try:
                self.client.create_collection(self.name, **creation(space, options))
            except Exception:
                # Another process may have created it meanwhile.
                if not self.client.collection_exists(self.name):
                    raise
            else:
                try:
                    expect_written(self.client.get_collection(self.name), space, self._where)
                except EnvironmentFault:
                    self.client.delete_collection(self.name)
                    raise
                return True
        expect_same(self.client.get_collection(self.name), space, self._where)
        return False

    def check(self) -> str:
        """Check that the collection has the model's space, and return that space.

        Raises:
            SpaceMismatchError: The collection has another space, or records none.
            ThothModelsError: The model cannot be loaded.
        """
        space = self._encoder.space()
        expect_same(self.client.get_collection(self.name), space, self._where)
        return space.identity

    def adopt(self) -> None:
        """Write the model's space into the metadata of a collection that records none.

        Vectors do not show which model computed them, so the caller has to know. This cannot be undone here.

        Raises:
            SpaceMismatchError: The collection has another space, or its vectors have another length or distance.
            InvalidInputError: Its vectors are named.
            EnvironmentFault: The server does not store metadata.
            ThothModelsError: The model cannot be loaded.
        """
        space = self._encoder.space()
        expect_adoptable(self.client.get_collection(self.name), space, self._where)
        self.client.update_collection(self.name, metadata=record(space))
        expect_written(self.client.get_collection(self.name), space, self._where)

    def upsert(
        self,
        texts: Iterable[str],
        payloads: Iterable[Mapping[str, Any] | None] | None = None,
        ids: Iterable[models.ExtendedPointId | uuid.UUID] | None = None,
        *,
        text_key: str | None = "text",
        wait: bool = True,
    ) -> int:
        """Encode texts as documents and write them as points, batch by batch; return how many were written.

        Args:
            texts: Any iterable; it may be larger than memory.
            payloads: One for each text, or None.
            ids: One for each text. None derives each id from its text, so that writing a text again replaces its point;
                equal texts are then one point.
            text_key: Key of the payload that the text is stored under, unless the payload has that key; None to leave
                the text out.
            wait: Wait until the points can be found.

        Raises:
            InvalidInputError: A text is not a str, or the numbers of texts, payloads and ids differ; the message has
                the index. The batches before it are written.
            SpaceMismatchError: The collection has another space than the model, or records none.
            ThothModelsError: The model cannot be loaded.
        """
        count = 0
        for listed, points, contents in self._batches(texts, payloads, ids, text_key):
            space = recorded_space(self.client.get_collection(self.name), self._where)
            vectors = self._encoder.encode(listed, "document", space, self._where)
            self.client.upsert(self.name, points_of(points, vectors, contents), wait=wait)
            count += len(listed)
        return count

    def query(
        self,
        text: str,
        limit: int = 10,
        *,
        score_threshold: float | None = None,
        query_filter: models.Filter | None = None,
        **options: Any,  # noqa: ANN401 - the options of the client's query_points
    ) -> list[models.ScoredPoint]:
        """Encode a text as a query, and return the nearest points, best first.

        Args:
            text: The query.
            limit: Maximum number of points.
            score_threshold: Minimum score, which is the cosine for vectors of length 1. For Euclidean and Manhattan
                distances, the maximum distance.
            query_filter: Restricts which points are searched.
            options: Options of ``query_points``.

        Raises:
            InvalidInputError: The text is not a str.
            SpaceMismatchError: The collection has another space than the model, or records none.
            ThothModelsError: The model cannot be loaded.
        """
        space = recorded_space(self.client.get_collection(self.name), self._where)
        vector = self._encoder.encode(expect_text("text", text), "query", space, self._where)
        found = self.client.query_points(
            self.name,
            query=vector.tolist(),
            limit=limit,
            score_threshold=score_threshold,
            query_filter=query_filter,
            **options,
        )
        return found.points


@final
class AsyncThothCollection(_Collection[AsyncQdrantClient]):
    """:class:`ThothCollection` for an asynchronous client; encoding does not block the event loop."""

    async def create(self, **options: Any) -> bool:  # noqa: ANN401 - the options of the client's create_collection
        """Create the collection unless it exists; see :meth:`ThothCollection.create`."""
        space = await self._encoder.aspace()
        if not await self.client.collection_exists(self.name):
            try:
                await self.client.create_collection(self.name, **creation(space, options))
            except Exception:
                if not await self.client.collection_exists(self.name):
                    raise
            else:
                try:
                    expect_written(await self.client.get_collection(self.name), space, self._where)
                except EnvironmentFault:
                    await self.client.delete_collection(self.name)
                    raise
                return True
        expect_same(await self.client.get_collection(self.name), space, self._where)
        return False

    async def check(self) -> str:
        """Check the collection's space and return it; see :meth:`ThothCollection.check`."""
        space = await self._encoder.aspace()
        expect_same(await self.client.get_collection(self.name), space, self._where)
        return space.identity

    async def adopt(self) -> None:
        """Write the model's space into the metadata; see :meth:`ThothCollection.adopt`."""
        space = await self._encoder.aspace()
        expect_adoptable(await self.client.get_collection(self.name), space, self._where)
        await self.client.update_collection(self.name, metadata=record(space))
        expect_written(await self.client.get_collection(self.name), space, self._where)

    async def upsert(
        self,
        texts: Iterable[str],
        payloads: Iterable[Mapping[str, Any] | None] | None = None,
        ids: Iterable[models.ExtendedPointId | uuid.UUID] | None = None,
        *,
        text_key: str | None = "text",
        wait: bool = True,
    ) -> int:
        """Encode texts as documents and write them as points; see :meth:`ThothCollection.upsert`."""
        count = 0
        for listed, points, contents in self._batches(texts, payloads, ids, text_key):
            space = recorded_space(await self.client.get_collection(self.name), self._where)
            vectors = await self._encoder.aencode(listed, "document", space, self._where)
            await self.client.upsert(self.name, points_of(points, vectors, contents), wait=wait)
            count += len(listed)
        return count

    async def query(
        self,
        text: str,
        limit: int = 10,
        *,
        score_threshold: float | None = None,
        query_filter: models.Filter | None = None,
        **options: Any,  # noqa: ANN401 - the options of the client's query_points
    ) -> list[models.ScoredPoint]:
        """Encode a text as a query, and return the nearest points; see :meth:`ThothCollection.query`."""
        space = recorded_space(await self.client.get_collection(self.name), self._where)
        vector = await self._encoder.aencode(expect_text("text", text), "query", space, self._where)
        found = await self.client.query_points(
            self.name,
            query=vector.tolist(),
            limit=limit,
            score_threshold=score_threshold,
            query_filter=query_filter,
            **options,
        )
        return found.points
