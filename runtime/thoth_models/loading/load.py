"""``load_embedding``: select, verify, load; within a deadline, and with every attempt kept."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thoth_models.deadline import done
from thoth_models.errors import (
    Attempt,
    BackendError,
    BackendUnavailableError,
    FallbackWarning,
    InvalidInputError,
    ModelUnavailableError,
    SpaceMismatchError,
    VerificationError,
)
from thoth_models.events import tell
from thoth_models.info import EmbeddingInfo
from thoth_models.loads import Loading
from thoth_models.selection import select

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thoth_models.embedding import Embedding
    from thoth_models.errors import ThothModelsError
    from thoth_models.loads import Loaded
    from thoth_models.selection import Candidate
    from thoth_models.verify import OpenBundle

ROOT_VARIABLE = "THOTH_MODELS_DIR"
DEFAULT_ROOT = "/models"
"""Where images carry the bundle; Kubernetes image volumes and KServe expect it there too."""


def bundle_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the bundle directory to use: ``root`` if given, else ``THOTH_MODELS_DIR``, else ``/models``.

    Raises:
        InvalidInputError: ``root`` is no path.
    """
    chosen: object = root if root is not None else os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT
    if not isinstance(chosen, (str, os.PathLike)):
        raise InvalidInputError(f"root: expected a path as str or PathLike, found {type(chosen).__name__}")
    return Path(chosen)


def load_embedding(  # noqa: PLR0913 - each is a decision of the caller's, by name, and has a default
    name: str | None = None,
    *,
    root: str | os.PathLike[str] | None = None,
    variants: Sequence[str] | None = None,
    same_space: bool = False,
    expect_space: str | None = None,
    timeout: float = 60.0,
) -> Embedding:
    """Load an embedding model from a verified bundle, offline, within a deadline.

    Variants of the model are tried in order, then those of its alternates. What is tried is first compared with the
    manifest, byte for byte, and once loaded must give the first golden text the vector that it had when the bundle was
    built; a variant that fails is passed over, and :attr:`Embedding.info` keeps the reason.

    Args:
        name: Model name or alias; None for the bundle's default.
        root: The bundle directory; None for ``THOTH_MODELS_DIR``, and where that is not set ``/models``.
        variants: Names of the variants to accept, in order of preference; None for the list's own order.
        same_space: Refuse a stand-in whose vectors belong to another embedding space, also where the list accepts one.
        expect_space: The space that an index was made with (:attr:`EmbeddingInfo.space`): a model of any other space is
            refused, whatever name it has now. None expects the space that the bundle's model has.
        timeout: Seconds until :class:`LoadTimeout`, everything included.

    Warns:
        FallbackWarning: A model of another embedding space answers.

    Raises:
        UnknownModelError: No model or alias has that name; the message lists the known names.
        InvalidInputError: An argument has an unusable value.
        SpaceMismatchError: Only a model of another embedding space could answer, and that is not accepted.
        BundleNotFoundError: There is no bundle.
        ManifestError: The manifest is malformed.
        VerificationError: The manifest was changed. (Changed model files are an attempt that failed.)
        ModelUnavailableError: Nothing that may answer could be loaded; carries each attempt.
        OfflineViolation: Loading tried to use the network.
        LoadTimeout: The deadline passed; carries the stacks. The loading thread is left to itself.
    """
    seconds = checked_seconds(timeout)
    # Absolute now: the working directory may change while the thread runs.
    request = _Request(
        path=bundle_root(root).absolute(),
        name=name,
        variants=variants,
        same_space=same_space,
        expect_space=expect_space,
        seconds=seconds,
    )
    embedding = done(_Load(request))
    if embedding.info.fallback is not None:
        warn_fallback(embedding.info.fallback)
        tell_fallback(embedding.info)
    return embedding


def checked_seconds(timeout: object) -> float:
    """Return ``timeout`` if it can be waited for.

    Raises:
        InvalidInputError: It is no positive, finite number of seconds.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout <= threading.TIMEOUT_MAX:
        raise InvalidInputError(f"timeout: expected a positive, finite number of seconds, found {timeout!r}")
    return timeout


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    """What a caller of :func:`load_embedding` asked for, checked but for what the bundle has to say of it."""

    path: Path
    name: str | None
    variants: Sequence[str] | None
    same_space: bool
    expect_space: str | None
    seconds: float


class _Load(Loading["Embedding"]):
    """The first load: the best candidate that can be loaded."""

    def __init__(self, request: _Request) -> None:
        super().__init__(repr(request.name or "the default model"), request.path, request.seconds)
        self._request = request

    def do(self) -> Embedding:
        bundle = self.open()
        request = self._request
        try:
            selection = select(
                bundle.manifest,
                request.name,
                variants=request.variants,
                same_space=request.same_space,
                expect_space=request.expect_space,
            )
        except SpaceMismatchError as error:
            tell_refusal(request.name, error)
            raise
        attempts = list(selection.passed_over)
        for candidate in selection.candidates:
            try:
                loaded = self.load(bundle, candidate)
            except LOAD_FAILURES as error:
                attempts.append(failed(candidate, error))
            else:
                return make_embedding(bundle, selection.requested, candidate, loaded, attempts)
        raise ModelUnavailableError(selection.requested, attempts)


LOAD_FAILURES = (VerificationError, BackendUnavailableError, BackendError)
"""What keeps one variant from being loaded, and lets the next one be tried."""

_BETWEEN = ("thoth_models", "contextlib", "functools")
"""Modules between a caller and what it called."""


def failed(candidate: Candidate, error: Exception) -> Attempt:
    """Return the attempt to load ``candidate`` that ended with ``error``, and log it."""
    model, variant, reason = candidate.model.name, candidate.variant.name, str(error)
    tell("refusal", model=model, variant=variant, error=type(error).__name__, reason=reason)
    return Attempt(model=model, variant=variant, reason=reason, error=type(error).__name__)


def warn_fallback(reason: str) -> None:
    """Warn the nearest caller outside of this package that a model of another embedding space answers."""
    frame, depth = sys._getframe(1), 2  # noqa: SLF001 - the documented way to see the frames of a thread
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        frame, depth = frame.f_back, depth + 1
    warnings.warn(FallbackWarning(reason), stacklevel=depth)


def tell_fallback(info: EmbeddingInfo) -> None:
    """Log that a model of another embedding space answers."""
    reason = info.fallback or ""
    tell("fallback", requested=info.requested, model=info.model, variant=info.variant, space=info.space, reason=reason)


def tell_refusal(requested: str | None, error: ThothModelsError) -> None:
    """Log that nothing may answer for a name, or not now; None for the bundle's default model."""
    name = "the default model" if requested is None else requested
    tell("refusal", requested=name, error=type(error).__name__, reason=str(error))


def make_embedding(
    bundle: OpenBundle, requested: str, candidate: Candidate, loaded: Loaded, attempts: Sequence[Attempt]
) -> Embedding:
    """Return what a caller gets who asked for ``requested``, after ``attempts`` to load something better."""
    from thoth_models.embedding import Embedding  # noqa: PLC0415 - needs numpy, see thoth_models.loads

    info = EmbeddingInfo(
        requested=requested,
        model=candidate.model.name,
        variant=candidate.variant.name,
        revision=candidate.built.origin.revision,
        space=candidate.built.space.hex,
        bundle_digest=bundle.bundle_digest.hex,
        fallback=None if candidate.same_space else _fallback(requested, candidate, attempts),
        attempts=tuple(attempts),
        golden_cosine=loaded.golden_cosine,
        verify_seconds=loaded.verify_seconds,
        load_seconds=loaded.load_seconds,
    )
    return Embedding(loaded.backend, candidate.model, candidate.built, info, loaded.golden)


def _fallback(requested: str, candidate: Candidate, attempts: Sequence[Attempt]) -> str:
    reasons = "; ".join(str(attempt) for attempt in attempts)
    return (
        f"{candidate.place} stands in for {requested!r}; its vectors belong to another "
        f"embedding space ({candidate.built.space.short}), do not mix them with others ({reasons})"
    )
