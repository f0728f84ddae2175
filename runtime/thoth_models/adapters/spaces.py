"""What the vector store adapters share: one model, and vectors of a single embedding space.

A store records the space of its vectors. Each call that encodes for the store passes that space, and is refused if the
model that answers has another one: because the bundle changed, the name means another model now, or a fallback answers.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, final

from thoth_models.bundle.selection import DEFAULT
from thoth_models.errors import InvalidInputError, SpaceMismatchError
from thoth_models.manager.manager import EmbeddingManager

if TYPE_CHECKING:
    from collections.abc import Iterable

    from thoth_models.embedding import Embedding
    from thoth_models.info import EmbeddingInfo
    from thoth_models.manager.config import ManagerConfig
    from thoth_models.types import FloatArray

Kind = Literal["document", "query"]
"""What a text is; a model may have a different prompt for each kind."""

RECORD: Final = "thoth_models"
"""The key under which stores record what their vectors were made with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """What a store needs to know about its vectors.

    Attributes:
        identity: Identity of the embedding space, 64 hexadecimal digits.
        model: Name of the model that answers now.
        dimension: Length of a vector.
        similarity: Similarity function of the model: ``cosine``, ``dot``, ``euclidean`` or ``manhattan``.
        unit_length: Whether each vector has length 1, so that the dot product of two is their cosine.
    """

    identity: str
    model: str
    dimension: int
    similarity: str
    unit_length: bool


@final
class SpaceEncoder:
    """Encodes with one model, served by the manager of the process. It is loaded at the first call.

    Args:
        model: Name or alias; ``default`` means the bundle's default model if nothing has that name.
        config: Settings of the manager; None for the defaults.
    """

    def __init__(self, model: str = DEFAULT, config: ManagerConfig | None = None) -> None:
        given: object = model
        if not isinstance(given, str):
            raise InvalidInputError(f"model: expected a name, found {type(given).__name__}")
        self.model = model
        self.config = config

    @property
    def manager(self) -> EmbeddingManager:
        """The manager of this process for these settings."""
        return EmbeddingManager.get_instance(self.config)

    def space(self) -> Space:
        """Load the model, and return its space.

        Warns:
            FallbackWarning: A model of another space answers; once per name.

        Raises:
            ThothModelsError: The model cannot be loaded.
        """
        with self.manager.use(self.model) as embedding:
            return _space_of(embedding)

    def encode(self, texts: str | Iterable[str], kind: Kind, space: str, where: str) -> FloatArray:
        """Return the vectors of ``texts``.

        Args:
            texts: One text, or any iterable of texts.
            kind: Whether they are documents or queries.
            space: The space that the vectors must belong to.
            where: What expects that space, for the error message.

        Returns:
            float32 of shape (n, dimension) for n texts, also for n = 0; (dimension,) for one str.

        Warns:
            FallbackWarning: A model of another space answers; once per name.

        Raises:
            SpaceMismatchError: The model that answers has another space.
            InvalidInputError: An input is not a str; the message names its index.
            ThothModelsError: The model cannot be loaded.
        """
        # One lease for the check and the encoding: between two calls of the manager, a fallback may take over.
        with self.manager.use(self.model) as embedding:
            expect_space(space, embedding.info, where)
            return embedding.encode_query(texts) if kind == "query" else embedding.encode_document(texts)

    async def aencode(self, texts: str | Iterable[str], kind: Kind, space: str, where: str) -> FloatArray:
        """Return what :meth:`encode` returns, without blocking the event loop."""
        return await self.manager.in_thread(functools.partial(self.encode, texts, kind, space, where))

    async def aspace(self) -> Space:
        """Return what :meth:`space` returns, without blocking the event loop."""
        return await self.manager.in_thread(self.space)


def expect_space(expected: str, found: EmbeddingInfo, where: str) -> None:
    """Refuse a model whose space is not ``expected``.

    Raises:
        SpaceMismatchError: The space differs; the message has both spaces and the reason why this model answers.
    """
    if found.space != expected:
        reason = "" if found.fallback is None else f" ({found.fallback})"
        raise SpaceMismatchError(
            f"{where}: expected vectors of the embedding space {expected}, found {found.space}, "
            f"which is the space of {found.model!r}, the model that answers for {found.requested!r}{reason}"
        )


def _space_of(embedding: Embedding) -> Space:
    return Space(
        identity=embedding.info.space,
        model=embedding.info.model,
        dimension=embedding.dimension,
        similarity=embedding.similarity_fn_name,
        unit_length=embedding.normalizes,
    )
