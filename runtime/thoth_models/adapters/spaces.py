"""What the adapters of vector stores share: one model, and vectors of one embedding space and no other.

A store keeps the space that its vectors belong to. Each call that encodes for it says which space that is, and is
refused where another model than that one would answer: another bundle, another meaning of a name, or a stand-in.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, final

from thoth_models.errors import InvalidInputError, SpaceMismatchError
from thoth_models.manager import EmbeddingManager
from thoth_models.selection import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from thoth_models.config import ManagerConfig
    from thoth_models.embedding import Embedding, FloatArray
    from thoth_models.info import EmbeddingInfo

Kind = Literal["document", "query"]
"""What a text is: models may have another prompt for each."""

RECORD: Final = "thoth_models"
"""Under this name, stores keep a record of what their vectors were made with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """What a store has to know of the vectors that it keeps.

    Attributes:
        identity: Of the embedding space, 64 hexadecimal digits.
        model: Name of the model that answers now.
        dimension: Length of a vector.
        similarity: The measure of the model: ``cosine``, ``dot``, ``euclidean`` or ``manhattan``.
        unit_length: Whether each vector has length 1, so that the dot product of two is their cosine.
    """

    identity: str
    model: str
    dimension: int
    similarity: str
    unit_length: bool


@final
class SpaceEncoder:
    """Encodes with one model, by the manager of the process. Nothing is loaded before the first call.

    Args:
        model: Name or alias; ``default`` is the bundle's default model where nothing is called that.
        config: Settings of the manager; None for the default ones.
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
        """Return what the model that answers makes; loads it.

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
            kind: What they are.
            space: The space that the vectors must belong to.
            where: Who expects that, for the message.

        Returns:
            float32 of shape (n, dimension) for n texts, also for n = 0; (dimension,) for one str.

        Warns:
            FallbackWarning: A model of another space answers; once per name.

        Raises:
            SpaceMismatchError: Another space would answer.
            InvalidInputError: An input is not a str; the message names its index.
            ThothModelsError: The model cannot be loaded.
        """
        # The model that was looked at is the one that encodes: between two calls of the manager, another may stand in.
        with self.manager.use(self.model) as embedding:
            expect_space(space, embedding.info, where)
            return embedding.encode_query(texts) if kind == "query" else embedding.encode_document(texts)

    async def aencode(self, texts: str | Iterable[str], kind: Kind, space: str, where: str) -> FloatArray:
        """Return what :meth:`encode` returns, without keeping the event loop from other work."""
        return await self.manager.in_thread(functools.partial(self.encode, texts, kind, space, where))

    async def aspace(self) -> Space:
        """Return what :meth:`space` returns, without keeping the event loop from other work."""
        return await self.manager.in_thread(self.space)


def expect_space(expected: str, found: EmbeddingInfo, where: str) -> None:
    """Refuse a model of another space than ``expected``.

    Raises:
        SpaceMismatchError: It is another one; the message says who expects which, and why the model answers.
    """
    if found.space != expected:
        reason = "" if found.fallback is None else f" ({found.fallback})"
        raise SpaceMismatchError(
            f"{where}: expected vectors of the embedding space {expected}, found {found.space}, "
            f"which {found.model!r} of the bundle makes for {found.requested!r}{reason}"
        )


def _space_of(embedding: Embedding) -> Space:
    return Space(
        identity=embedding.info.space,
        model=embedding.info.model,
        dimension=embedding.dimension,
        similarity=embedding.similarity_fn_name,
        unit_length=embedding.normalizes,
    )
