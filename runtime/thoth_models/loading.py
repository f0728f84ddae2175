"""``load_embedding``: select, verify, load; within a deadline, and with every attempt kept."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from thoth_models.backends import import_libraries, load_backend
from thoth_models.errors import (
    Attempt,
    BackendError,
    BackendUnavailableError,
    FallbackWarning,
    InvalidInputError,
    LoadTimeout,
    ModelUnavailableError,
    VerificationError,
)
from thoth_models.info import EmbeddingInfo
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
    path = bundle_root(root).absolute()
    work = _Work(path=path, name=name, variants=variants, same_space=same_space, expect_space=expect_space)
    # A daemon: a thread that hangs inside a library can be neither stopped nor waited for.
    thread = threading.Thread(target=work.run, name="thoth-models-load", daemon=True)
    thread.start()
    if not work.finished.wait(seconds):
        raise LoadTimeout(
            f"loading {name or 'the default model'!r} from {path} did not finish within {seconds:g} s; "
            f"it was {work.stage}",
            _stacks(thread),
        )
    if work.error is not None:
        raise work.error
    embedding = work.result
    if embedding is None:  # pragma: no cover - run() sets one of the two
        raise AssertionError("loading ended without a result or an error")
    if embedding.info.fallback is not None:
        warnings.warn(FallbackWarning(embedding.info.fallback), stacklevel=2)
        _log.warning("fallback: %s", embedding.info.fallback)
    return embedding


def _seconds(timeout: object) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout <= threading.TIMEOUT_MAX:
        raise InvalidInputError(f"timeout: expected a positive, finite number of seconds, found {timeout!r}")
    return timeout


@dataclass
class _Work:
    """One load, run in a thread of its own so that its caller can stop waiting."""

    path: Path
    name: str | None
    variants: Sequence[str] | None
    same_space: bool
    expect_space: str | None
    stage: str = "starting"
    verify_seconds: float = 0.0
    load_seconds: float = 0.0
    result: Embedding | None = None
    error: BaseException | None = None
    finished: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        try:
            self.result = self._load()
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            self.error = error
        finally:
            self.finished.set()

    def _load(self) -> Embedding:
        enforce_offline()
        self.stage = "verifying the manifest"
        started = time.monotonic()
        bundle = open_bundle(self.path)
        self.verify_seconds += time.monotonic() - started
        selection = select(
            bundle.manifest,
            self.name,
            variants=self.variants,
            same_space=self.same_space,
            expect_space=self.expect_space,
        )
        attempts = list(selection.passed_over)
        for candidate in selection.candidates:
            try:
                embedding = self._try(bundle, candidate, selection.requested, attempts)
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
                return embedding
        raise ModelUnavailableError(selection.requested, attempts)

    def _try(self, bundle: OpenBundle, candidate: Candidate, requested: str, attempts: Sequence[Attempt]) -> Embedding:
        place = f"{candidate.model.name}/{candidate.variant.name}"
        self.stage = f"verifying {place}"
        with network_guard():
            # Hashing leaves the interpreter to others, so the libraries are imported meanwhile.
            importing = threading.Thread(
                target=import_libraries, args=(candidate.variant.backend,), name="thoth-models-import", daemon=True
            )
            importing.start()
            started = time.monotonic()
            try:
                verified = verify_variant(bundle, candidate.model, candidate.built, candidate.variant, spare_cores=1)
            finally:
                self.verify_seconds += time.monotonic() - started
            self.stage = f"loading {place}"
            started = time.monotonic()
            try:
                importing.join()
                backend = load_backend(verified)
                golden_cosine = _check_golden(backend, verified)
                assert_offline()
            finally:
                self.load_seconds += time.monotonic() - started
        info = EmbeddingInfo(
            requested=requested,
            model=candidate.model.name,
            variant=candidate.variant.name,
            revision=candidate.built.origin.revision,
            space=candidate.built.space.hex,
            bundle_digest=bundle.bundle_digest.hex,
            fallback=None if candidate.same_space else _fallback(requested, candidate, attempts),
            attempts=tuple(attempts),
            golden_cosine=golden_cosine,
            verify_seconds=self.verify_seconds,
            load_seconds=self.load_seconds,
        )
        from thoth_models.embedding import Embedding  # noqa: PLC0415 - see _check_golden

        return Embedding(backend, candidate.model, candidate.built, info, verified.golden)


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


def _stacks(first: threading.Thread) -> str:
    """Return the stack of every thread as text, the loading thread first."""
    frames = sys._current_frames()  # noqa: SLF001 - the documented way to see other threads' stacks
    threads = [first, *(thread for thread in threading.enumerate() if thread is not first)]
    return "\n".join(
        f"Thread {thread.name}:\n{''.join(traceback.format_stack(frames[thread.ident]))}"
        for thread in threads
        if thread.ident in frames
    )
