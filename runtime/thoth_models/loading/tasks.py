"""Loading one variant, or the same variant again: open the bundle, compare the files, make the backend, prove it.

:mod:`thoth_models.loading` and :mod:`thoth_models.manager` choose which variant; here it is loaded, in a thread that
whoever waits for it can stop waiting for.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from thoth_models.backends import import_libraries, load_backend
from thoth_models.deadline import Work
from thoth_models.errors import BackendError, Problem, VerificationError
from thoth_models.events import tell
from thoth_models.forking import ForkSafeBackend, no_fork, prepare_load
from thoth_models.manifest import MANIFEST_NAME
from thoth_models.offline import assert_offline, enforce_offline, network_guard
from thoth_models.verify import open_bundle, verify_variant

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.embedding import Backend
    from thoth_models.errors import Attempt
    from thoth_models.golden import Golden
    from thoth_models.selection import Candidate
    from thoth_models.verify import OpenBundle, VerifiedVariant

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A backend that gives the golden vector, and what it was made of.

    Attributes:
        backend: It outlives a fork.
        golden: Texts with their reference vectors, or None for a model without.
        golden_cosine: Cosine of the first golden text's vector to its reference; None for a model without.
        verify_seconds: Time spent comparing files with the manifest.
        load_seconds: Time spent importing libraries and making the backend.
    """

    backend: Backend
    golden: Golden | None
    golden_cosine: float | None
    verify_seconds: float
    load_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What answers for a name, since it was loaded for it once.

    Attributes:
        requested: The name.
        candidate: What answers.
        attempts: What was tried before, and could not be used.
    """

    requested: str
    candidate: Candidate
    attempts: tuple[Attempt, ...]


class Loading(Work[T]):
    """What every kind of loading has in common.

    Args:
        what: What is loaded, in words, for the error.
        path: Absolute path of the bundle.
        seconds: How long each caller waits.
    """

    def __init__(self, what: str, path: Path, seconds: float) -> None:
        super().__init__(f"loading {what} from {path}", seconds)
        self._path = path
        self.verify_seconds = 0.0
        self.load_seconds = 0.0

    def open(self) -> OpenBundle:
        """Open the bundle, offline."""
        enforce_offline()
        self.stage = "verifying the manifest"
        started = time.monotonic()
        try:
            return open_bundle(self._path)
        finally:
            self.verify_seconds += time.monotonic() - started

    def load(self, bundle: OpenBundle, candidate: Candidate) -> Loaded:
        """Compare the files of one variant, and make a backend of them that outlives a fork."""
        backend, verified, cosine = self.load_once(bundle, candidate)
        path, seconds = self._path, self._seconds
        return Loaded(
            backend=ForkSafeBackend(backend, lambda: _Reload(path, seconds, bundle, candidate)),
            golden=verified.golden,
            golden_cosine=cosine,
            verify_seconds=self.verify_seconds,
            load_seconds=self.load_seconds,
        )

    def load_once(self, bundle: OpenBundle, candidate: Candidate) -> tuple[Backend, VerifiedVariant, float | None]:
        """Compare the files of one variant, make its backend, and have it give the golden vector.

        Returns:
            The backend, what it was made of, and the cosine of its golden vector; see :class:`Loaded`.
        """
        self.stage = f"verifying {candidate.place}"
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
            self.stage = f"loading {candidate.place}"
            started = time.monotonic()
            try:
                if importing.ident is not None:
                    importing.join()
                with no_fork(self._seconds):
                    backend = load_backend(verified)
                golden_cosine = _check_golden(backend, verified)
                assert_offline()
            finally:
                self.load_seconds += time.monotonic() - started
        tell(
            "load",
            model=candidate.model.name,
            variant=candidate.variant.name,
            seconds=self.verify_seconds + self.load_seconds,
            verify_seconds=self.verify_seconds,
            space=candidate.built.space.hex,
            bundle_digest=bundle.bundle_digest.hex,
        )
        return backend, verified, golden_cosine


class OpenOnly(Loading["OpenBundle"]):
    """Open a bundle, and load nothing yet.

    Args:
        path: Absolute path of the bundle.
        seconds: How long each caller waits.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("nothing yet", path, seconds)

    def do(self) -> OpenBundle:
        """Return the bundle."""
        return self.open()


class LoadVariant(Loading[Loaded]):
    """Load one variant that was chosen before, from what the bundle said then.

    Args:
        path: Absolute path of the bundle.
        seconds: How long each caller waits.
        bundle: The bundle when the variant was chosen.
        candidate: The variant.
    """

    def __init__(self, path: Path, seconds: float, bundle: OpenBundle, candidate: Candidate) -> None:
        super().__init__(candidate.place, path, seconds)
        self._before = bundle
        self._candidate = candidate

    def do(self) -> Loaded:
        """Return what was loaded."""
        bundle = self.open()
        _expect_unchanged(bundle, self._before, self._candidate, when="when this process opened the bundle")
        return self.load(bundle, self._candidate)


class _Reload(Loading["Backend"]):
    """The same variant again, in a child of ``fork``; no other one stands in, whose vectors might differ."""

    def __init__(self, path: Path, seconds: float, bundle: OpenBundle, candidate: Candidate) -> None:
        what = f"{candidate.place} again, in a process that was forked after it had been loaded,"
        super().__init__(what, path, seconds)
        self._before = bundle
        self._candidate = candidate

    def do(self) -> Backend:
        bundle = self.open()
        _expect_unchanged(bundle, self._before, self._candidate, when="loaded before this process was forked")
        backend, _, _ = self.load_once(bundle, self._candidate)
        return backend


def _expect_unchanged(bundle: OpenBundle, before: OpenBundle, candidate: Candidate, *, when: str) -> None:
    """Compare a variant with what it was; another bundle may have come, which is fine where it has the same model.

    Raises:
        VerificationError: The variant is another one now, or there is none.
    """
    if _content(bundle, candidate) == _content(before, candidate):
        return
    problem = Problem(
        kind="changed",
        path=MANIFEST_NAME,
        expected=f"{candidate.place} as it was {when}, from the bundle {before.bundle_digest}",
        found=f"another one, in the bundle {bundle.bundle_digest}",
    )
    raise VerificationError(str(bundle.root), [problem])


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
