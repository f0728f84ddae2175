"""The two sides that :mod:`thoth_models.switching` chooses from: how they encode, and the identity of their vectors."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np

from thoth_models.bundle.space import is_space
from thoth_models.errors import EnvironmentFault, InvalidInputError
from thoth_models.inputs import expect_texts
from thoth_models.manager.manager import EmbeddingManager
from thoth_models.process.fork import ForkAware, at_fork, never_destroy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import ArrayLike

    from thoth_models.manager.config import ManagerConfig
    from thoth_models.types import FloatArray


class Side(StrEnum):
    """Who encodes."""

    LOCAL = "local"
    """A model of the bundle, in this process."""

    HOSTED = "hosted"
    """An encoder of the service."""


class TextEncoder(Protocol):
    """The interface that a service calls, on either side."""

    def encode(self, texts: str | Iterable[str]) -> FloatArray:
        """Return float32 of shape (n, dimension) for n texts, also for n = 0; (dimension,) for one str."""
        ...

    async def aencode(self, texts: str | Iterable[str]) -> FloatArray:
        """Return what :meth:`encode` returns, without blocking the event loop."""
        ...


class HostedEncoder(Protocol):
    """The interface that a service implements for the hosted side, for example around its provider's client."""

    def encode(self, texts: list[str]) -> ArrayLike:
        """Return one vector per text, in order, for at least one text."""
        ...

    async def aencode(self, texts: list[str]) -> ArrayLike:
        """Return what :meth:`encode` returns, without blocking the event loop."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Hosted:
    """The hosted side.

    Attributes:
        make: Creates the encoder; called once in each process, and only if this side is chosen.
        identity: Identity of the vectors, such as ``openai:text-embedding-3-small:1536``. It must change with
            everything that changes the vectors: provider, model, version, number of dimensions.
        dimension: Length of a vector.
        normalize: Whether to scale vectors to length 1, the default for bundles. If a service compares dot products
            with thresholds, they are then cosines on both sides.

    Raises:
        InvalidInputError: A value is not valid; the message names it.
    """

    make: Callable[[], HostedEncoder]
    identity: str
    dimension: int
    normalize: bool = True

    def __post_init__(self) -> None:
        """Check the values."""
        make: object = self.make
        identity: object = self.identity
        dimension: object = self.dimension
        if not callable(make):
            raise InvalidInputError(f"make: expected a function without arguments, found {type(make).__name__}")
        if not isinstance(identity, str) or not identity.strip() or is_space(identity):
            raise InvalidInputError(f"identity: expected a name that no local space can have, found {identity!r}")
        if isinstance(dimension, bool) or not isinstance(dimension, int) or dimension < 1:
            raise InvalidInputError(f"dimension: expected an integer of at least 1, found {dimension!r}")


class LocalProvider:
    """A model of the bundle, from a manager that refuses every other space, also when it loads the model again."""

    side = Side.LOCAL

    def __init__(self, model: str, config: ManagerConfig, space: str, dimension: int) -> None:
        self.identity = space
        self.dimension = dimension
        self._model = model
        self._config = replace(config, expect_spaces={**config.expect_spaces, model: space})

    def manager(self) -> EmbeddingManager:
        """Return the manager of this process that holds the model."""
        return EmbeddingManager.get_instance(self._config)

    def warm_up(self) -> None:
        """Load the model."""
        self.manager().preload_models([self._model])

    def encode(self, texts: str | Iterable[str]) -> FloatArray:
        """Return the vectors."""
        return self.manager().encode(texts, self._model)

    async def aencode(self, texts: str | Iterable[str]) -> FloatArray:
        """Return the vectors, without blocking the event loop."""
        return await self.manager().aencode(texts, self._model)


class HostedProvider(ForkAware):
    """The service's encoder, with checks of inputs and results. A child of ``fork`` creates its own.

    Raises:
        Exception: Any error of ``hosted.make``.
    """

    side = Side.HOSTED

    def __init__(self, hosted: Hosted) -> None:
        self.identity = hosted.identity
        self.dimension = hosted.dimension
        self._normalizes = hosted.normalize
        self._make = hosted.make
        self._encoder: HostedEncoder | None = hosted.make()
        self._lock = threading.RLock()
        at_fork(self)

    def manager(self) -> None:
        """Return None: the hosted side has no manager."""
        return

    def warm_up(self) -> None:
        """Do nothing: the encoder exists already."""

    def encode(self, texts: str | Iterable[str]) -> FloatArray:
        """Return the vectors after checking them."""
        listed = expect_texts("texts", texts)
        answer: ArrayLike = self._own_encoder().encode(listed) if listed else []
        return self._checked(texts, listed, answer)

    async def aencode(self, texts: str | Iterable[str]) -> FloatArray:
        """Return the vectors after checking them, without blocking the event loop."""
        listed = expect_texts("texts", texts)
        answer: ArrayLike = await self._own_encoder().aencode(listed) if listed else []
        return self._checked(texts, listed, answer)

    def _own_encoder(self) -> HostedEncoder:
        """Return the encoder of this process."""
        with self._lock:
            if self._encoder is None:
                self._encoder = self._make()
            return self._encoder

    def after_fork_in_child(self) -> None:
        """Put the parent's encoder away without closing its connections."""
        never_destroy(self._encoder)
        self._encoder = None
        self._lock = threading.RLock()  # a thread of the parent may hold the old one

    def _checked(self, texts: object, listed: list[str], answer: ArrayLike) -> FloatArray:
        expected = (len(listed), self.dimension)
        try:
            vectors = np.array(answer, dtype=np.float32)  # a copy, because the provider may reuse its array
        except (TypeError, ValueError) as error:  # not numbers, or rows of different lengths
            raise EnvironmentFault(f"{self.identity}: expected vectors of shape {expected}, found {error}") from error
        if not listed:
            vectors = vectors.reshape(expected)
        if vectors.shape != expected:
            raise EnvironmentFault(f"{self.identity}: expected vectors of shape {expected}, found {vectors.shape}")
        if not np.isfinite(vectors).all():
            raise EnvironmentFault(f"{self.identity}: expected finite numbers, found others")
        if self._normalizes:
            lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)  # squares may overflow
            if not lengths.all():
                raise EnvironmentFault(f"{self.identity}: expected vectors that have a direction, found one of zeros")
            vectors = (vectors / lengths).astype(np.float32)
        return vectors[0] if isinstance(texts, str) else vectors
