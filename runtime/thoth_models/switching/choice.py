"""One switch between local and hosted embeddings, for services that move from one to the other in stages.

``THOTH_EMBEDDINGS=local|hosted`` decides once, when a process starts. Vectors of the two belong to different spaces, so
an index that was built with one cannot be searched with vectors of the other. The caller has to name the index, and is
refused if it does not match. Each side has an identity to be stored with the index: the space of the local model, or a
name that the service gives to the hosted model.

Requests cannot be split between the two, and there is no shadow mode: part of the requests to one index would be
answered from the wrong space. A service moves process by process, each with the index that matches.

Nothing here opens a connection. The service creates the hosted encoder, and only if it is chosen.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, final

from thoth_models.bundle.selection import DEFAULT, expected_space
from thoth_models.bundle.space import is_space
from thoth_models.errors import (
    EnvironmentFault,
    InvalidInputError,
    NotPicklableError,
    SpaceMismatchError,
)
from thoth_models.events import log_event
from thoth_models.loading.fallback import warn_fallback
from thoth_models.loading.tasks import OpenOnly
from thoth_models.manager.config import ManagerConfig
from thoth_models.manager.names import name_in_bundle, would_answer
from thoth_models.manager.stats import Counters, ManagerStats, ModelStats
from thoth_models.references import SharedObject
from thoth_models.switching.sides import Hosted, HostedEncoder, HostedProvider, LocalProvider, Side, TextEncoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from thoth_models.manager.manager import EmbeddingManager
    from thoth_models.types import FloatArray

__all__ = ["Hosted", "HostedEncoder", "Side", "SwitchStats", "SwitchedEmbeddings", "TextEncoder", "choose_embeddings"]

VARIABLE: Final = "THOTH_EMBEDDINGS"
"""The environment variable that chooses the side."""

_log = logging.getLogger("thoth_models.switching")


@dataclass(frozen=True, kw_only=True, slots=True)
class SwitchStats:
    """Which side answers, and its statistics in this process.

    Attributes:
        side: The chosen side.
        identity: Identity of the vectors: the local space, 64 hexadecimal digits, or the name of the hosted model.
        reason: Why this side was chosen.
        fallback: Why the local model is not the requested one; None if it is.
        calls: Calls that were answered.
        texts: Texts in these calls.
        encode_seconds: Time spent in these calls.
        failures: Calls that failed.
        manager: Statistics of the local manager; None on the hosted side.
    """

    side: Side
    identity: str
    reason: str
    fallback: str | None
    calls: int
    texts: int
    encode_seconds: float
    failures: int
    manager: ManagerStats | None

    def as_dict(self) -> dict[str, Any]:
        """Return the statistics as plain dicts, strings and numbers, for a health check or an exporter."""
        return {**asdict(self), "side": str(self.side)}


@final
class SwitchedEmbeddings(SharedObject):
    """The chosen side, for an index that matches. A :class:`TextEncoder`; threads may share it.

    :func:`choose_embeddings` creates it.
    """

    def __init__(self, side: LocalProvider | HostedProvider, *, reason: str, fallback: str | None) -> None:
        self._side = side
        self._reason = reason
        self._fallback = fallback
        self._counters = Counters()

    def __reduce__(self) -> tuple[Any, ...]:
        """Refuse to be pickled.

        Raises:
            NotPicklableError: Always: the variable of each process decides, and so does the index that it opens.
        """
        raise NotPicklableError(
            f"expected embeddings that stay in the process that chose them, found {self!r} to be pickled; call "
            f"choose_embeddings(index={self.identity!r}, ...) in the other process"
        )

    def __repr__(self) -> str:
        """Return class, side and identity."""
        return f"<SwitchedEmbeddings {self.side}, {self.identity}>"

    @property
    def side(self) -> Side:
        """Who encodes."""
        return self._side.side

    @property
    def identity(self) -> str:
        """The identity to store with an index of these vectors, and to pass as ``index`` when it is used again."""
        return self._side.identity

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._side.dimension

    @property
    def manager(self) -> EmbeddingManager | None:
        """The manager of the local side; None on the hosted side.

        A service that also needs a manager for other purposes should use this one: another one would load its own
        copies of the models.
        """
        return self._side.manager()

    def encode(self, texts: str | Iterable[str]) -> FloatArray:
        """Return the vectors of ``texts``.

        Returns:
            float32 of shape (n, dimension) for n texts, also for n = 0; (dimension,) for one str.

        Raises:
            InvalidInputError: An input is not a str; the message names its index.
            SpaceMismatchError: The local model that answers now has another space.
            EnvironmentFault: The hosted side did not return one finite vector of its dimension per text, or returned
                zeros that cannot be scaled to length 1.
            ThothModelsError: The local model cannot be loaded; see :func:`load_embedding`.
            Exception: Any error of the hosted side.
        """
        started = time.monotonic()
        try:
            vectors = self._side.encode(texts)
        except Exception:  # a cancelled call is not a failure
            self._counters.add(self.identity, failures=1)
            raise
        self._count(vectors, started)
        return vectors

    async def aencode(self, texts: str | Iterable[str]) -> FloatArray:
        """Return what :meth:`encode` returns, without blocking the event loop."""
        started = time.monotonic()
        try:
            vectors = await self._side.aencode(texts)
        except Exception:  # a cancelled call is not a failure
            self._counters.add(self.identity, failures=1)
            raise
        self._count(vectors, started)
        return vectors

    def warm_up(self) -> None:
        """Load the local model now instead of at the first call; does nothing on the hosted side.

        Raises:
            ThothModelsError: The model cannot be loaded; see :func:`load_embedding`.
        """
        self._side.warm_up()

    def stats(self) -> SwitchStats:
        """Return which side answers, and its statistics in this process."""
        counts = self._counters.snapshot().get(self.identity, ModelStats())
        manager = self.manager
        return SwitchStats(
            side=self.side,
            identity=self.identity,
            reason=self._reason,
            fallback=self._fallback,
            calls=counts.calls,
            texts=counts.texts,
            encode_seconds=counts.encode_seconds,
            failures=counts.failures,
            manager=None if manager is None else manager.stats(),
        )

    def _count(self, vectors: FloatArray, started: float) -> None:
        count = 1 if vectors.ndim == 1 else len(vectors)
        self._counters.add(self.identity, calls=1, texts=count, encode_seconds=time.monotonic() - started)


def choose_embeddings(  # noqa: PLR0913 - keyword arguments, all but two with defaults
    *,
    index: str | None,
    hosted: Hosted,
    local: str = DEFAULT,
    config: ManagerConfig | None = None,
    default: Side | str = Side.LOCAL,
    environ: Mapping[str, str] | None = None,
) -> SwitchedEmbeddings:
    """Return the side that ``THOTH_EMBEDDINGS`` chooses, if its vectors match the index.

    Args:
        index: The identity that is stored with the index; None for a new index, with which the service then stores
            :attr:`SwitchedEmbeddings.identity`.
        hosted: The hosted side.
        local: Name or alias of the local model; ``default`` means the bundle's default model if nothing has that name.
        config: Settings of the local manager; None for the defaults.
        default: The side if the variable is not set, or empty.
        environ: The environment; None for that of this process.

    Warns:
        FallbackWarning: For a new index, a fallback of another space answers instead of the local model.

    Raises:
        EnvironmentFault: The variable has another value.
        InvalidInputError: An argument is not valid.
        SpaceMismatchError: The index was built with other vectors than those of the chosen side.
        ThothModelsError: The local side was chosen, and no model of the bundle may answer.
        Exception: Any error of ``hosted.make``.
    """
    if index is not None and not isinstance(index, str):
        raise InvalidInputError(f"index: expected an identity as str, or None, found {type(index).__name__}")
    side, reason = _chosen(os.environ if environ is None else environ, default)
    if side is Side.HOSTED:
        if index is not None and index != hosted.identity:
            raise _misfit(index, f"{reason}, whose vectors are {hosted.identity!r}")
        chosen, fallback = SwitchedEmbeddings(HostedProvider(hosted), reason=reason, fallback=None), None
    else:
        if index is not None and not is_space(index):
            raise _misfit(index, f"{reason}, whose vectors belong to a space of 64 hexadecimal digits")
        local_side, fallback = _local_side(local, ManagerConfig() if config is None else config, index)
        chosen = SwitchedEmbeddings(local_side, reason=reason, fallback=fallback)
    extra = {"side": str(side), "identity": chosen.identity, "reason": reason}
    _log.info("embeddings: %s, because of %s; their identity is %s", side, reason, chosen.identity, extra=extra)
    if fallback is not None:
        log_event("fallback", requested=local, reason=fallback)
        warn_fallback(fallback)
    return chosen


def _chosen(environ: Mapping[str, str], default: object) -> tuple[Side, str]:
    """Return the side, and the reason for it."""
    stated = environ.get(VARIABLE, "").strip()
    sides = [side.value for side in Side]
    if stated:
        if stated.lower() not in sides:
            raise EnvironmentFault(f"{VARIABLE}: expected {' or '.join(sides)}, found {stated!r}")
        return Side(stated.lower()), f"{VARIABLE}={stated}"
    if default not in sides:
        raise InvalidInputError(f"default: expected {' or '.join(sides)}, found {default!r}")
    return Side(str(default)), f"the default, {default}"


def _local_side(model: str, config: ManagerConfig, index: str | None) -> tuple[LocalProvider, str | None]:
    """Return the local side for an index, and why the model is not the requested one."""
    if not isinstance(model, str):
        raise InvalidInputError(f"local: expected the name of a model, found {type(model).__name__}")
    manifest = OpenOnly(config.place(), config.timeout).result().manifest
    expected = expected_space(manifest, name_in_bundle(manifest, model), config.expect_spaces) or index
    if index not in (None, expected):
        raise _misfit(str(index), f"the settings expect the space {expected} of {model!r}")
    try:
        best, fallback = would_answer(manifest, model, config, expect_space=index)
    except SpaceMismatchError as error:
        if index is None:
            raise
        raise _misfit(index, str(error)) from error
    return LocalProvider(model, config, best.built.space.hex, best.model.dimension), fallback


def _misfit(index: str, found: str) -> SpaceMismatchError:
    return SpaceMismatchError(f"the index was built with vectors of {index!r}, which do not match: {found}")
