"""The parts of :mod:`thoth_models.adapters.qdrant` that send no request: points, vectors, the record of the space.

Imports the Qdrant client for its types.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from thoth_models.adapters.serving import missing
from thoth_models.adapters.spaces import RECORD
from thoth_models.errors import EnvironmentFault, InvalidInputError, SpaceMismatchError
from thoth_models.inputs import expect_items, expect_text

try:
    from qdrant_client import models
except ImportError as error:
    raise missing("The client of Qdrant", "qdrant") from error

if TYPE_CHECKING:
    from thoth_models.adapters.spaces import Space
    from thoth_models.types import FloatArray

TEXTS: Final = uuid.UUID("a4a206c1-7535-4b4a-994c-e01951c38a76")
"""Namespace of ids derived from texts. It must never change, or a text that is written again would be stored twice."""

_DISTANCES: Final = {
    "cosine": models.Distance.COSINE,
    "dot": models.Distance.DOT,
    "euclidean": models.Distance.EUCLID,
    "manhattan": models.Distance.MANHATTAN,
}

_END: Final = object()


def text_id(text: str) -> str:
    """Return the id derived from a text, a UUID. The same text always has the same id."""
    return str(uuid.uuid5(TEXTS, text))


def recorded_space(info: models.CollectionInfo, where: str) -> str:
    """Return the space that a collection records.

    Raises:
        SpaceMismatchError: The collection records no space.
    """
    record = (info.config.metadata or {}).get(RECORD)
    space = record.get("space") if isinstance(record, Mapping) else None
    if not isinstance(space, str):
        raise SpaceMismatchError(
            f"{where}: expected the embedding space of its vectors in the collection's metadata, found none"
        )
    return space


def expect_same(info: models.CollectionInfo, space: Space, where: str) -> None:
    """Refuse a collection whose space is not ``space``.

    Raises:
        SpaceMismatchError: The collection has another space, or records none.
    """
    recorded = recorded_space(info, where)
    if recorded != space.identity:
        raise SpaceMismatchError(
            f"{where}: expected the embedding space {space.identity} of {space.model!r}, found {recorded}"
        )


def expect_written(info: models.CollectionInfo, space: Space, where: str) -> None:
    """Check that the server stored the record.

    Raises:
        EnvironmentFault: The server stored no record.
        SpaceMismatchError: The record has another space: another process wrote it first.
    """
    if not (info.config.metadata or {}).get(RECORD):
        raise EnvironmentFault(
            f"{where}: expected a server that stores the metadata of collections (Qdrant 1.16 or newer), "
            "found that it dropped them"
        )
    expect_same(info, space, where)


def expect_adoptable(info: models.CollectionInfo, space: Space, where: str) -> None:
    """Refuse a collection whose vectors cannot belong to ``space``.

    Raises:
        SpaceMismatchError: The collection has another space, or its vectors have another length or distance.
        InvalidInputError: Its vectors are named.
    """
    if (info.config.metadata or {}).get(RECORD):
        expect_same(info, space, where)
    vectors = info.config.params.vectors
    if not isinstance(vectors, models.VectorParams):
        raise InvalidInputError(f"{where}: expected a collection with one unnamed vector, found {vectors!r}")
    fitting = fitting_distances(space)
    if vectors.size != space.dimension or vectors.distance not in fitting:
        measures = " or ".join(distance.value for distance in fitting)
        raise SpaceMismatchError(
            f"{where}: expected vectors of length {space.dimension} by {measures}, "
            f"found length {vectors.size} by {vectors.distance.value}"
        )


def fitting_distances(space: Space) -> list[models.Distance]:
    """Return the distances that give the model's ranking and scores, the cheapest first."""
    if space.unit_length and space.similarity in ("cosine", "dot"):
        # Dot first: with Cosine, Qdrant would normalise vectors that already have length 1.
        return [models.Distance.DOT, models.Distance.COSINE]
    return [_DISTANCES[space.similarity]]


def record(space: Space) -> dict[str, Any]:
    """Return the metadata that record which space and model a collection was made with."""
    return {RECORD: {"space": space.identity, "model": space.model}}


def creation(space: Space, options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``create_collection``.

    Raises:
        InvalidInputError: ``options`` has ``vectors_config``, which follows from the model.
    """
    if "vectors_config" in options:
        raise InvalidInputError(
            "expected other options of create_collection, found vectors_config, which follows from the model"
        )
    vectors = models.VectorParams(size=space.dimension, distance=fitting_distances(space)[0])
    return {**options, "vectors_config": vectors, "metadata": {**(options.get("metadata") or {}), **record(space)}}


def batches(
    texts: Iterable[str],
    payloads: Iterable[Mapping[str, Any] | None] | None,
    ids: Iterable[models.ExtendedPointId | uuid.UUID] | None,
    *,
    size: int,
    text_key: str | None,
) -> Iterator[tuple[list[str], list[models.ExtendedPointId], list[dict[str, Any]]]]:
    """Yield texts, ids and payloads batch by batch. The iterables are read no further than needed.

    Raises:
        InvalidInputError: A text is not a str, or the numbers of texts, payloads and ids differ.
    """
    rows = _rows(texts, payloads, ids)
    while batch := list(itertools.islice(rows, size)):
        listed = [text for text, _, _ in batch]
        points = [text_id(text) if given is None else _id(given) for text, _, given in batch]
        yield listed, points, [_payload(text, payload, text_key) for text, payload, _ in batch]


def points_of(ids: list[models.ExtendedPointId], vectors: FloatArray, payloads: list[dict[str, Any]]) -> models.Batch:
    """Return points as the client sends them."""
    # The whole array at once: clients before 1.20 take 12 times as long to make lists of arrays.
    return models.Batch(ids=ids, vectors=vectors.tolist(), payloads=payloads)


def _rows(
    texts: object, payloads: Iterable[Mapping[str, Any] | None] | None, ids: Iterable[Any] | None
) -> Iterator[tuple[str, Mapping[str, Any] | None, Any]]:
    nothing: Iterator[None] = iter(())
    columns: list[Iterable[Any]] = [
        expect_items("texts", "an iterable of str", texts),
        nothing if payloads is None else expect_items("payloads", "an iterable of dicts", payloads),
        nothing if ids is None else expect_items("ids", "an iterable of ids", ids),
    ]
    wanted = [True, payloads is not None, ids is not None]
    for index, row in enumerate(itertools.zip_longest(*columns, fillvalue=_END)):
        for name, value, is_given in zip(("texts", "payloads", "ids"), row, wanted, strict=True):
            if value is _END and is_given:
                raise InvalidInputError(f"{name}: expected as many as the others, found {index}")
        text, payload, given = (None if value is _END else value for value in row)
        yield expect_text(f"texts[{index}]", text), payload, given


def _id(given: Any) -> models.ExtendedPointId:  # noqa: ANN401 - the client looks at it
    return str(given) if isinstance(given, uuid.UUID) else given


def _payload(text: str, payload: Mapping[str, Any] | None, text_key: str | None) -> dict[str, Any]:
    if payload is not None and not isinstance(payload, Mapping):
        raise InvalidInputError(f"payloads: expected a dict or None for each text, found {type(payload).__name__}")
    return {**({} if text_key is None else {text_key: text}), **(payload or {})}
