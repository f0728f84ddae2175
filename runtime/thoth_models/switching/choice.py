"""One switch between local and hosted embeddings, for services that move from one to the other in stages.

``THOTH_EMBEDDINGS=local|hosted`` decides, once, when a process starts. Vectors of the two belong to different spaces,
so an index that was made with one cannot be asked with vectors of the other: whoever chooses must say which index it is
for, and is refused where the two do not fit. Each side has an identity to be kept with the index: the space of the
local model, and for the hosted one what the service calls it.

There is no share of requests and no shadow mode: part of the requests to one index would be answered from the wrong
space. What moves in stages is processes, each with the index that fits.

Nothing here opens a connection. What encodes on the hosted side is made by the service, and only if it is chosen.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, final

from thoth_models.config import ManagerConfig
from thoth_models.deadline import done
from thoth_models.errors import (
    EnvironmentFault,
    InvalidInputError,
    ModelUnavailableError,
    SpaceMismatchError,
)
from thoth_models.events import tell
from thoth_models.loading import bundle_root, warn_fallback
from thoth_models.loads import OpenOnly
from thoth_models.selection import DEFAULT, expected_space, select
from thoth_models.sides import Hosted, HostedEncoder, HostedSide, LocalSide, Side, TextEncoder, is_space
from thoth_models.statistics import Counters, ManagerStats, ModelStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from thoth_models.embedding import FloatArray
    from thoth_models.manager import EmbeddingManager

__all__ = ["Hosted", "HostedEncoder", "Side", "SwitchStats", "SwitchedEmbeddings", "TextEncoder", "choose_embeddings"]

VARIABLE: Final = "THOTH_EMBEDDINGS"
"""Says which side answers."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class SwitchStats:
    """Which side answers, and what it did in this process.

    Attributes:
        side: Who encodes.
        identity: Of the vectors: the local space, 64 hexadecimal digits, or that of the hosted side.
        reason: What decided.
        fallback: Why the local model is not the one that was asked for; None where it is.
        calls: Calls that were answered.
        texts: Texts in them.
        encode_seconds: Time spent in them.
        failures: Calls that ended with an error.
        manager: What the local manager did; None on the hosted side.
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
        """Return all of it as plain dicts, strings and numbers, such as for a health check or an exporter."""
        return {**asdict(self), "side": str(self.side)}


@final
class SwitchedEmbeddings:
    """The side that was chosen, for an index that fits. A :class:`TextEncoder`; threads may share it.

    Made by :func:`choose_embeddings`.
    """

    def __init__(self, side: LocalSide | HostedSide, *, reason: str, fallback: str | None) -> None:
        self._side = side
        self._reason = reason
        self._fallback = fallback
        self._counters = Counters()

    def __repr__(self) -> str:
        """Return side and identity."""
        return f"<SwitchedEmbeddings {self.side}, {self.identity}>"

    @property
    def side(self) -> Side:
        """Who encodes."""
        return self._side.side

    @property
    def identity(self) -> str:
        """What to keep with an index that is made with these vectors, and to give when it is used again."""
        return self._side.identity

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._side.dimension

    @property
    def manager(self) -> EmbeddingManager | None:
        """The manager of the local side; None on the hosted side.

        A service that needs it for more uses this one, since another would load models of its own beside it.
        """
        return self._side.manager()

    def encode(self, texts: str | Iterable[str]) -> FloatArray:
        """Return the vectors of ``texts``.

        Returns:
            float32 of shape (n, dimension) for n texts, also for n = 0; (dimension,) for one str.

        Raises:
            InvalidInputError: An input is not a str; the message names its index.
            SpaceMismatchError: The local model would now be one of another space.
            EnvironmentFault: The hosted side answered something else than one finite vector of its dimension per text,
                or zeros where it is to be scaled to length 1.
            ThothModelsError: The local model cannot be loaded; see :func:`load_embedding`.
            Exception: Whatever the hosted side raises.
        """
        started = time.monotonic()
        try:
            vectors = self._side.encode(texts)
        except Exception:  # a call that was cancelled did not fail
            self._counters.add(self.identity, failures=1)
            raise
        self._count(vectors, started)
        return vectors

    async def aencode(self, texts: str | Iterable[str]) -> FloatArray:
        """Return what :meth:`encode` returns, without keeping the event loop from other work."""
        started = time.monotonic()
        try:
            vectors = await self._side.aencode(texts)
        except Exception:  # a call that was cancelled did not fail
            self._counters.add(self.identity, failures=1)
            raise
        self._count(vectors, started)
        return vectors

    def warm_up(self) -> None:
        """Load the local model now, which the first call does otherwise; nothing on the hosted side.

        Raises:
            ThothModelsError: It cannot be loaded; see :func:`load_embedding`.
        """
        self._side.warm_up()

    def stats(self) -> SwitchStats:
        """Return which side answers, and what it did in this process."""
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


def choose_embeddings(  # noqa: PLR0913 - by name, and all but two have a default
    *,
    index: str | None,
    hosted: Hosted,
    local: str = DEFAULT,
    config: ManagerConfig | None = None,
    default: Side | str = Side.LOCAL,
    environ: Mapping[str, str] | None = None,
) -> SwitchedEmbeddings:
    """Return the side that ``THOTH_EMBEDDINGS`` chooses, if its vectors fit the index.

    Args:
        index: The identity that is kept with the index which the vectors are for; None for an index that is yet to be
            made, to be kept with :attr:`SwitchedEmbeddings.identity`.
        hosted: The hosted side.
        local: Name or alias of the local model; ``default`` is the bundle's default model where nothing is called that.
        config: Settings of the local manager; None for the default ones.
        default: Who encodes where the variable is not set, or empty.
        environ: The environment; None for that of this process.

    Warns:
        FallbackWarning: For an index yet to be made, a model of another space stands in for the local one.

    Raises:
        EnvironmentFault: The variable has another value.
        InvalidInputError: An argument cannot be used.
        SpaceMismatchError: The index was made with other vectors than the side that was chosen makes.
        ThothModelsError: The local side was chosen, and the bundle has nothing that may answer.
        Exception: Whatever ``hosted.make`` raises.
    """
    if index is not None and not isinstance(index, str):
        raise InvalidInputError(f"index: expected an identity as str, or None, found {type(index).__name__}")
    side, reason = _chosen(os.environ if environ is None else environ, default)
    if side is Side.HOSTED:
        if index is not None and index != hosted.identity:
            raise _misfit(index, f"{reason}, whose vectors are {hosted.identity!r}")
        chosen, fallback = SwitchedEmbeddings(HostedSide(hosted), reason=reason, fallback=None), None
    else:
        if index is not None and not is_space(index):
            raise _misfit(index, f"{reason}, whose vectors belong to a space of 64 hexadecimal digits")
        local_side, fallback = _local_side(local, ManagerConfig() if config is None else config, index)
        chosen = SwitchedEmbeddings(local_side, reason=reason, fallback=fallback)
    extra = {"side": str(side), "identity": chosen.identity, "reason": reason}
    _log.info("embeddings: %s, because of %s; their identity is %s", side, reason, chosen.identity, extra=extra)
    if fallback is not None:
        tell("fallback", requested=local, reason=fallback)
        warn_fallback(fallback)
    return chosen


def _chosen(environ: Mapping[str, str], default: object) -> tuple[Side, str]:
    """Return the side, and what decided."""
    stated = environ.get(VARIABLE, "").strip()
    sides = [side.value for side in Side]
    if stated:
        if stated.lower() not in sides:
            raise EnvironmentFault(f"{VARIABLE}: expected {' or '.join(sides)}, found {stated!r}")
        return Side(stated.lower()), f"{VARIABLE}={stated}"
    if default not in sides:
        raise InvalidInputError(f"default: expected {' or '.join(sides)}, found {default!r}")
    return Side(str(default)), f"the default, {default}"


def _local_side(model: str, config: ManagerConfig, index: str | None) -> tuple[LocalSide, str | None]:
    """Return the local side for an index, and why the model is not the one that was asked for."""
    if not isinstance(model, str):
        raise InvalidInputError(f"local: expected the name of a model, found {type(model).__name__}")
    manifest = done(OpenOnly(bundle_root(config.root).absolute(), config.timeout)).manifest
    requested = None if model == DEFAULT and DEFAULT not in manifest.names() else model
    expected = expected_space(manifest, requested, config.expect_spaces) or index
    if index not in (None, expected):
        raise _misfit(str(index), f"the settings expect the space {expected} of {model!r}")
    try:
        selection = select(
            manifest, requested, variants=config.variants, same_space=config.same_space, expect_space=expected
        )
    except SpaceMismatchError as error:
        if index is None:
            raise
        raise _misfit(index, str(error)) from error
    if not selection.candidates:
        raise ModelUnavailableError(selection.requested, selection.passed_over)
    best = selection.candidates[0]
    fallback = None
    if not best.same_space:
        reasons = "; ".join(map(str, selection.passed_over))
        fallback = (
            f"{best.model.name} stands in for {model!r}; its vectors belong to another embedding space "
            f"({best.built.space.short}), do not mix them with others ({reasons})"
        )
    return LocalSide(model, config, best.built.space.hex, best.model.dimension), fallback


def _misfit(index: str, found: str) -> SpaceMismatchError:
    return SpaceMismatchError(f"the index was made with vectors of {index!r}, which do not fit: {found}")
