"""``load_embedding``: select, verify, load; within a deadline, and with every attempt kept."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from thoth_models.backends import import_libraries, load_backend
from thoth_models.deadline import Work
from thoth_models.errors import (
    Attempt,
    BackendError,
    BackendUnavailableError,
    FallbackWarning,
    InvalidInputError,
    ModelUnavailableError,
    Problem,
    VerificationError,
)
from thoth_models.forking import ForkSafeBackend, prepare_load
from thoth_models.info import EmbeddingInfo
from thoth_models.manifest import MANIFEST_NAME
from thoth_models.offline import assert_offline, enforce_offline, network_guard
from thoth_models.selection import select
from thoth_models.verify import open_bundle, verify_variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thoth_models.embedding import Backend, Embedding
    from thoth_models.selection import Candidate
    from thoth_models.verify import OpenBundle, VerifiedVariant

ROOT_VARIABLE = "THOTH_MODELS_DIR"
DEFAULT_ROOT = "/models"
"""Where images carry the bundle; Kubernetes image volumes and KServe expect it there too."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


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
    seconds = _seconds(timeout)
    # Absolute now: the working directory may change while the thread runs.
    request = _Request(
        path=bundle_root(root).absolute(),
        name=name,
        variants=variants,
        same_space=same_space,
        expect_space=expect_space,
        seconds=seconds,
    )
    work = _Load(request)
    work.start()
    embedding = work.wait()
    if embedding.info.fallback is not None:
        warnings.warn(FallbackWarning(embedding.info.fallback), stacklevel=2)
        _log.warning("fallback: %s", embedding.info.fallback)
    return embedding


def _seconds(timeout: object) -> float:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Loaded:
    """A backend that gives the golden vector, and what it was made of."""

    backend: Backend
    verified: VerifiedVariant
    golden_cosine: float | None


class _Loading(Work[T]):
    """What loading has in common with loading again in a child of ``fork``."""

    def __init__(self, what: str, path: Path, seconds: float) -> None:
        super().__init__(f"loading {what} from {path}", seconds)
        self._path = path
        self.verify_seconds = 0.0
        self.load_seconds = 0.0

    def open(self) -> OpenBundle:
        enforce_offline()
        self.stage = "verifying the manifest"
        started = time.monotonic()
        try:
            return open_bundle(self._path)
        finally:
            self.verify_seconds += time.monotonic() - started

    def load(self, bundle: OpenBundle, candidate: Candidate) -> _Loaded:
        """Compare the files of one variant, and make its backend."""
        place = f"{candidate.model.name}/{candidate.variant.name}"
        self.stage = f"verifying {place}"
        prepare_load()
        with network_guard():
            # Hashing leaves the interpreter to others, so the libraries are imported meanwhile.
            importing = threading.Thread(
                target=import_libraries, args=(candidate.variant.backend,), name="thoth-models-import", daemon=True
            )
            with contextlib.suppress(RuntimeError):  # no more threads: loading imports them itself
                importing.start()
            started = time.monotonic()
            try:
                verified = verify_variant(bundle, candidate.model, candidate.built, candidate.variant, spare_cores=1)
            finally:
                self.verify_seconds += time.monotonic() - started
            self.stage = f"loading {place}"
            started = time.monotonic()
            try:
                if importing.ident is not None:
                    importing.join()
                backend = load_backend(verified)
                golden_cosine = _check_golden(backend, verified)
                assert_offline()
            finally:
                self.load_seconds += time.monotonic() - started
        return _Loaded(backend=backend, verified=verified, golden_cosine=golden_cosine)


class _Load(_Loading["Embedding"]):
    """The first load: the best candidate that can be loaded."""

    def __init__(self, request: _Request) -> None:
        super().__init__(repr(request.name or "the default model"), request.path, request.seconds)
        self._request = request

    def do(self) -> Embedding:
        bundle = self.open()
        request = self._request
        selection = select(
            bundle.manifest,
            request.name,
            variants=request.variants,
            same_space=request.same_space,
            expect_space=request.expect_space,
        )
        attempts = list(selection.passed_over)
        for candidate in selection.candidates:
            try:
                loaded = self.load(bundle, candidate)
            except (VerificationError, BackendUnavailableError, BackendError) as error:
                place = f"{candidate.model.name}/{candidate.variant.name}"
                _log.warning("refused %s: %s", place, error)
                attempts.append(
                    Attempt(
                        model=candidate.model.name,
                        variant=candidate.variant.name,
                        reason=str(error),
                        error=type(error).__name__,
                    )
                )
            else:
                return self._embedding(bundle, candidate, loaded, selection.requested, attempts)
        raise ModelUnavailableError(selection.requested, attempts)

    def _embedding(
        self, bundle: OpenBundle, candidate: Candidate, loaded: _Loaded, requested: str, attempts: Sequence[Attempt]
    ) -> Embedding:
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
            verify_seconds=self.verify_seconds,
            load_seconds=self.load_seconds,
        )
        from thoth_models.embedding import Embedding  # noqa: PLC0415 - see _check_golden

        path, seconds = self._request.path, self._request.seconds
        backend = ForkSafeBackend(loaded.backend, lambda: _Reload(path, seconds, bundle, candidate))
        return Embedding(backend, candidate.model, candidate.built, info, loaded.verified.golden)


class _Reload(_Loading["Backend"]):
    """The same variant again, in a child of ``fork``; no other one stands in, whose vectors might differ."""

    def __init__(self, path: Path, seconds: float, bundle: OpenBundle, candidate: Candidate) -> None:
        place = f"{candidate.model.name}/{candidate.variant.name}"
        super().__init__(f"{place} again, in a process that was forked after it had been loaded,", path, seconds)
        self._before = bundle
        self._candidate = candidate

    def do(self) -> Backend:
        bundle = self.open()
        candidate = self._candidate
        # Another bundle may have taken its place meanwhile; that is fine where it has the same model.
        if _content(bundle, candidate) != _content(self._before, candidate):
            problem = Problem(
                kind="changed",
                path=MANIFEST_NAME,
                expected=f"{candidate.model.name}/{candidate.variant.name} as it was loaded before this process was "
                f"forked, from the bundle {self._before.bundle_digest}",
                found=f"another one, in the bundle {bundle.bundle_digest}",
            )
            raise VerificationError(str(bundle.root), [problem])
        return self.load(bundle, candidate).backend


def _content(bundle: OpenBundle, candidate: Candidate) -> object:
    """Return all that the vectors of a variant follow from, as a bundle says it; None where it does not have it."""
    model = bundle.manifest.models.get(candidate.model.name)
    if model is None or model.built is None or candidate.variant not in model.built.variants:
        return None
    proof = model.built.proof
    paths = [*candidate.variant.files, *([] if proof is None else [proof.golden])]
    return model.dimension, model.built, [bundle.manifest.files[path] for path in paths]


def _check_golden(backend: Backend, verified: VerifiedVariant) -> float | None:
    """Return the cosine of the first golden text's vector to its reference; this also warms the backend up.

    Raises:
        BackendError: The vector is another one: a library reads the files differently, or the processor miscomputes.
    """
    # numpy takes longer to import than all of the rest, so it is imported while files are hashed, never before.
    from thoth_models.agreement import compare  # noqa: PLC0415

    golden, accuracy = verified.golden, verified.variant.accuracy
    if golden is None or accuracy is None:
        return None
    vectors = backend.encode([golden.texts[0]], prompt=golden.prompts[0], batch_size=None, show_progress_bar=False)
    agreement = compare(golden.vectors[:1], vectors)
    if not agreement.reaches(accuracy.required_cosine):
        raise BackendError(
            f"golden vector: expected a cosine of at least {accuracy.required_cosine:.5f} to the reference that was "
            f"computed when the bundle was built, and its length; found {agreement}"
        )
    return agreement.minimum_cosine


def _fallback(requested: str, candidate: Candidate, attempts: Sequence[Attempt]) -> str:
    reasons = "; ".join(str(attempt) for attempt in attempts)
    return (
        f"{candidate.model.name}/{candidate.variant.name} stands in for {requested!r}; its vectors belong to another "
        f"embedding space ({candidate.built.space.short}), do not mix them with others ({reasons})"
    )
