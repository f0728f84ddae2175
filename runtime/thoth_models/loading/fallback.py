"""Falling back from a variant that cannot be loaded: the attempt, the warning, and the model that answers instead."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

from thoth_models.errors import Attempt, BackendError, BackendUnavailableError, FallbackWarning, VerificationError
from thoth_models.events import log_event
from thoth_models.info import EmbeddingInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from thoth_models.bundle.selection import Candidate
    from thoth_models.embedding import Embedding
    from thoth_models.errors import ThothModelsError
    from thoth_models.loading.tasks import Loaded
    from thoth_models.verification.verify import OpenBundle

LOAD_FAILURES = (VerificationError, BackendUnavailableError, BackendError)
"""Errors after which the next variant is tried."""

_BETWEEN = ("thoth_models", "contextlib", "functools")
"""Modules that are skipped to find the caller of a warning."""


def failed(candidate: Candidate, error: Exception) -> Attempt:
    """Return the attempt to load ``candidate`` that ended with ``error``, and log it."""
    model, variant, reason = candidate.model.name, candidate.variant.name, str(error)
    log_event("refusal", model=model, variant=variant, error=type(error).__name__, reason=reason)
    return Attempt(model=model, variant=variant, reason=reason, error=type(error).__name__)


def warn_fallback(reason: str) -> None:
    """Warn the nearest caller outside of this package that a model of another embedding space answers."""
    frame, depth = sys._getframe(1), 2  # noqa: SLF001 - the documented way to see the frames of a thread
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        frame, depth = frame.f_back, depth + 1
    warnings.warn(FallbackWarning(reason), stacklevel=depth)


def log_fallback(info: EmbeddingInfo) -> None:
    """Log that a model of another embedding space answers."""
    reason = info.fallback or ""
    log_event(
        "fallback", requested=info.requested, model=info.model, variant=info.variant, space=info.space, reason=reason
    )


def log_refusal(requested: str | None, error: ThothModelsError) -> None:
    """Log that a name is refused; None for the bundle's default model."""
    name = "the default model" if requested is None else requested
    log_event("refusal", requested=name, error=type(error).__name__, reason=str(error))


def make_embedding(  # noqa: PLR0913 - all that an embedding consists of
    bundle: OpenBundle,
    requested: str,
    candidate: Candidate,
    loaded: Loaded,
    attempts: Sequence[Attempt],
    *,
    settings: Callable[[], Mapping[str, Any]],
) -> Embedding:
    """Return the embedding for a caller of ``requested``, after ``attempts`` to load something better.

    ``settings`` returns those of a manager that loads the same in another process.
    """
    from thoth_models.embedding import Embedding  # noqa: PLC0415 - needs numpy, see thoth_models.loading.tasks

    info = EmbeddingInfo(
        requested=requested,
        model=candidate.model.name,
        variant=candidate.variant.name,
        revision=candidate.built.origin.revision,
        space=candidate.built.space.hex,
        bundle_digest=bundle.bundle_digest.hex,
        fallback=None if candidate.same_space else fallback_reason(requested, candidate, attempts),
        attempts=tuple(attempts),
        golden_cosine=loaded.golden_cosine,
        verify_seconds=loaded.verify_seconds,
        load_seconds=loaded.load_seconds,
        release=bundle.manifest.release,
    )
    return Embedding(loaded.backend, candidate.model, candidate.built, info, loaded.golden, settings=settings)


def fallback_reason(requested: str, candidate: Candidate, attempts: Sequence[Attempt]) -> str:
    """Return the sentence that a model of another embedding space answers for ``requested``, and why."""
    reasons = "; ".join(str(attempt) for attempt in attempts)
    return (
        f"{candidate.place} stands in for {requested!r}; its vectors belong to another "
        f"embedding space ({candidate.built.space.short}), do not mix them with others ({reasons})"
    )
