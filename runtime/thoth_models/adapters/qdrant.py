"""For Qdrant: texts into the collections of one's own client, which keep the embedding space of their vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, final

from thoth_models.adapters.qdrant_points import (
    batches,
    checked_text,
    creation,
    expect_adoptable,
    expect_same,
    expect_written,
    kept_space,
    points_of,
    record,
    text_id,
)
from thoth_models.adapters.serving import missing
from thoth_models.adapters.spaces import SpaceEncoder
from thoth_models.errors import EnvironmentFault, InvalidInputError
from thoth_models.selection import DEFAULT

try:
    from qdrant_client import AsyncQdrantClient, QdrantClient
except ImportError as error:
    raise missing("The client of Qdrant", "qdrant") from error

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Iterator, Mapping

    from qdrant_client import models

    from thoth_models.config import ManagerConfig

__all__ = ["BATCH_SIZE", "AsyncThothCollection", "ThothCollection", "text_id"]

BATCH_SIZE: Final = 256
"""Texts that are encoded and sent at once: a request of 384 numbers each is about 2 MB of JSON."""

C = TypeVar("C", QdrantClient, AsyncQdrantClient)


class _Collection(Generic[C]):
    """What needs no request: which vectors, which record, which points."""

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
    """A collection of Qdrant, filled and asked with texts. Threads may share it where they may share the client.

    The collection keeps the embedding space of its vectors in its metadata, and each request that writes or asks
    compares it first with that of the model that would answer: the name may be an alias that was pointed elsewhere.

    Args:
        client: The caller's own client; it is never closed here.
        name: Name of the collection, or an alias.
        model: Name or alias of the model; ``default`` is the bundle's default model where nothing is called that.
        config: Settings of the manager; None for the default ones.
        batch_size: Texts that are encoded and sent at once.

    Raises:
        InvalidInputError: An argument cannot be used.
    """

    def create(self, **options: Any) -> bool:  # noqa: ANN401 - those of the client's create_collection
        """Make the collection where there is none, for vectors of this model; return whether it was made.

        Args:
            options: Those of ``create_collection``, but for ``vectors_config``.

        Warns:
            FallbackWarning: A model of another space stands in; its space is then the one that is kept.

        Raises:
            SpaceMismatchError: There is one, and it keeps another space, or none.
            EnvironmentFault: The server keeps no metadata; it is left as it was.
            ThothModelsError: The model cannot be loaded.
        """
        space = self._encoder.space()
        if not self.client.collection_exists(self.name):
            try:
                self.client.create_collection(self.name, **creation(space, options))
            except Exception:
                # Another process may have been quicker.
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
        """Return the space that the collection keeps, which is that of the model.

        Raises:
            SpaceMismatchError: It is another one, or none.
            ThothModelsError: The model cannot be loaded.
        """
        space = self._encoder.space()
        expect_same(self.client.get_collection(self.name), space, self._where)
        return space.identity

    def adopt(self) -> None:
        """Write the model's space into the metadata of a collection that keeps none.

        Nothing can tell which model made vectors. Whoever calls this knows, and says so for good.

        Raises:
            SpaceMismatchError: It keeps another space, or its vectors have another length or measure.
            InvalidInputError: Its vectors have names.
            EnvironmentFault: The server keeps no metadata.
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
        """Encode texts as documents and write them as points, batch after batch; return how many were sent.

        Args:
            texts: Any iterable, which may be longer than memory.
            payloads: One for each text, or None.
            ids: One for each text; None for those that follow from the texts, so that writing a text again replaces
                its point. Equal texts are then one point.
            text_key: Where the text goes in the payload, unless the payload has something there; None for nowhere.
            wait: Return when the points can be found.

        Raises:
            InvalidInputError: A text is not a str, or there are not as many payloads or ids; the message names the
                index. Batches before it have been written.
            SpaceMismatchError: The collection keeps another space than the model's, or none.
            ThothModelsError: The model cannot be loaded.
        """
        count = 0
        for listed, points, contents in self._batches(texts, payloads, ids, text_key):
            kept = kept_space(self.client.get_collection(self.name), self._where)
            vectors = self._encoder.encode(listed, "document", kept, self._where)
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
        **options: Any,  # noqa: ANN401 - those of the client's query_points
    ) -> list[models.ScoredPoint]:
        """Encode a text as a query and return the points that are nearest, the best first.

        Args:
            text: The query.
            limit: Most points.
            score_threshold: Least score: the cosine, for vectors of length 1. For distances, the greatest.
            query_filter: Which points may be found.
            options: Those of ``query_points``.

        Raises:
            InvalidInputError: The text is not a str.
            SpaceMismatchError: The collection keeps another space than the model's, or none.
            ThothModelsError: The model cannot be loaded.
        """
        kept = kept_space(self.client.get_collection(self.name), self._where)
        vector = self._encoder.encode(checked_text("text", text), "query", kept, self._where)
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
    """:class:`ThothCollection` for an asynchronous client; encoding keeps nothing else of the event loop waiting."""

    async def create(self, **options: Any) -> bool:  # noqa: ANN401 - those of the client's create_collection
        """Make the collection where there is none; see :meth:`ThothCollection.create`."""
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
        """Return the space that the collection keeps; see :meth:`ThothCollection.check`."""
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
            kept = kept_space(await self.client.get_collection(self.name), self._where)
            vectors = await self._encoder.aencode(listed, "document", kept, self._where)
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
        **options: Any,  # noqa: ANN401 - those of the client's query_points
    ) -> list[models.ScoredPoint]:
        """Encode a text as a query and return the points that are nearest; see :meth:`ThothCollection.query`."""
        kept = kept_space(await self.client.get_collection(self.name), self._where)
        vector = await self._encoder.aencode(checked_text("text", text), "query", kept, self._where)
        found = await self.client.query_points(
            self.name,
            query=vector.tolist(),
            limit=limit,
            score_threshold=score_threshold,
            query_filter=query_filter,
            **options,
        )
        return found.points
