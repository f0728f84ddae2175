"""The two sides that :mod:`thoth_models.switching` chooses from: who encodes, and what the vectors are called."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from thoth_models.errors import EnvironmentFault, InvalidInputError
from thoth_models.forking import at_fork, never_destroy
from thoth_models.manager import EmbeddingManager

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from thoth_models.config import ManagerConfig
    from thoth_models.embedding import FloatArray

_SPACE: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Side(StrEnum):
    """Who encodes."""

    LOCAL = "local"
    """A model of the bundle, in this process."""

    HOSTED = "hosted"
    """What the service made for it."""


class TextEncoder(Protocol):
    """What a service calls, whoever answers."""

    def encode(self, texts: str | Iterable[str]) -> FloatArray:
        """Return float32 of shape (n, dimension) for n texts, also for n = 0; (dimension,) for one str."""
        ...

    async def aencode(self, texts: str | Iterable[str]) -> FloatArray:
        """Return what :meth:`encode` returns, without keeping the event loop from other work."""
        ...


class HostedEncoder(Protocol):
    """What a service makes for the hosted side, such as a few lines around its provider's client."""

    def encode(self, texts: list[str]) -> ArrayLike:
        """Return one vector per text, in order, for at least one text."""
        ...

    async def aencode(self, texts: list[str]) -> ArrayLike:
        """Return what :meth:`encode` returns, without keeping the event loop from other work."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Hosted:
    """The hosted side.

    Attributes:
        make: Makes what encodes; called once in each process, and only if this side is chosen.
        identity: What its vectors are called, such as ``openai:text-embedding-3-small:1536``. It must change with
            whatever changes the vectors: provider, model, version, number of dimensions.
        dimension: How many numbers a vector has.
        normalize: Whether vectors are scaled to length 1, as those of a bundle are unless its list says otherwise: a
            service that compares dot products with thresholds then means cosines on both sides.

    Raises:
        InvalidInputError: A value cannot be used; the message names it.
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


class LocalSide:
    """A model of the bundle, by a manager that refuses every other space, also when it loads the model again."""

    side = Side.LOCAL

    def __init__(self, model: str, config: ManagerConfig, space: str, dimension: int) -> None:
        self.identity = space
        self.dimension = dimension
        self._model = model
        self._config = replace(config, expect_spaces={**config.expect_spaces, model: space})

    def manager(self) -> EmbeddingManager:
        """Return the manager of this process that has the model."""
        return EmbeddingManager.get_instance(self._config)

    def warm_up(self) -> None:
        """Load the model."""
        self.manager().preload_models([self._model])

    def encode(self, texts: str | Iterable[str]) -> FloatArray:
        """Return the vectors."""
        return self.manager().encode(texts, self._model)

    async def aencode(self, texts: str | Iterable[str]) -> FloatArray:
        """Return the vectors, without keeping the event loop from other work."""
        return await self.manager().aencode(texts, self._model)


class HostedSide:
    """What the service made, with inputs and answers checked; a child of ``fork`` makes one of its own.

    Raises:
        Exception: Whatever ``hosted.make`` raises.
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
        """Return None: there is none."""
        return

    def warm_up(self) -> None:
        """Do nothing: it was made already."""

    def encode(self, texts: str | Iterable[str]) -> FloatArray:
        """Return the vectors, after a look at them."""
        listed = _listed(texts)
        answer: ArrayLike = self._own_encoder().encode(listed) if listed else []
        return self._checked(texts, listed, answer)

    async def aencode(self, texts: str | Iterable[str]) -> FloatArray:
        """Return the vectors, after a look at them, without keeping the event loop from other work."""
        listed = _listed(texts)
        answer: ArrayLike = await self._own_encoder().aencode(listed) if listed else []
        return self._checked(texts, listed, answer)

    def _own_encoder(self) -> HostedEncoder:
        """Return the encoder of this process."""
        with self._lock:
            if self._encoder is None:
                self._encoder = self._make()
            return self._encoder

    def _inherited(self) -> None:
        """Let go of what another process made, and never close its connections; called in a child of ``fork``."""
        never_destroy(self._encoder)
        self._encoder = None
        self._lock = threading.RLock()  # a thread of the parent may have held the other

    def _checked(self, texts: object, listed: list[str], answer: ArrayLike) -> FloatArray:
        expected = (len(listed), self.dimension)
        try:
            vectors = np.array(answer, dtype=np.float32)  # a copy: the provider may use its own again
        except (TypeError, ValueError) as error:  # no numbers, or rows of different lengths
            raise EnvironmentFault(f"{self.identity}: expected vectors of shape {expected}, found {error}") from error
        if not listed:
            vectors = vectors.reshape(expected)
        if vectors.shape != expected:
            raise EnvironmentFault(f"{self.identity}: expected vectors of shape {expected}, found {vectors.shape}")
        if not np.isfinite(vectors).all():
            raise EnvironmentFault(f"{self.identity}: expected finite numbers, found others")
        if self._normalizes:
            lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)  # squares may be too large
            if not lengths.all():
                raise EnvironmentFault(f"{self.identity}: expected vectors that have a direction, found one of zeros")
            vectors = (vectors / lengths).astype(np.float32)
        return vectors[0] if isinstance(texts, str) else vectors


def _listed(texts: object) -> list[str]:
    """Return texts as a list, one str as well."""
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, (bytes, bytearray, Mapping)) or not isinstance(texts, Iterable):
        raise InvalidInputError(f"texts: expected a str or an iterable of str, found {type(texts).__name__}")
    listed = list(texts)
    for place, text in enumerate(listed):
        if not isinstance(text, str):
            raise InvalidInputError(f"texts[{place}]: expected a str, found {type(text).__name__}")
    return listed


def is_space(identity: str) -> bool:
    """Return whether an identity is that of a local space."""
    return _SPACE.fullmatch(identity) is not None
