"""Tasks that load one variant, or load it again: open the bundle, verify the files, create the backend, check it.

:mod:`thoth_models.loading.load` and :mod:`thoth_models.manager.resolver` choose the variant. A task loads it in a
thread that callers can stop waiting for.
"""

from __future__ import annotations

import contextlib
import functools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from thoth_models.backends import import_libraries, load_backend
from thoth_models.backends.wrapping import wrap_backend
from thoth_models.bundle.manifest import MANIFEST_NAME
from thoth_models.errors import BackendError, EnvironmentFault, Problem, VerificationError
from thoth_models.events import log_event
from thoth_models.process.daemon_executor import DaemonThread
from thoth_models.process.fork import no_fork, prepare_load
from thoth_models.process.offline import assert_offline, enforce_offline, network_guard
from thoth_models.process.task import Task
from thoth_models.verification.verify import open_place, verify_variant

if TYPE_CHECKING:
    from collections.abc import Callable

    from thoth_models.bundle.digest import Digest
    from thoth_models.bundle.golden import Golden
    from thoth_models.bundle.selection import Candidate
    from thoth_models.process.environment import BundlePlace
    from thoth_models.types import Backend
    from thoth_models.verification.verify import OpenBundle, VerifiedVariant

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A loaded backend that was checked with a golden text.

    Attributes:
        backend: The backend; it can be used after a fork.
        golden: Texts with their reference vectors, or None for a model without golden vectors.
        golden_cosine: Smallest cosine of a golden text's vector to its reference, or None.
        verify_seconds: Time spent comparing files with the manifest.
        load_seconds: Time spent importing libraries and creating the backend.
    """

    backend: Backend
    golden: Golden | None
    golden_cosine: float | None
    verify_seconds: float
    load_seconds: float


class Loading(Task[T]):
    """The base of all loading tasks.

    Args:
        what: What is loaded, in words, for error messages.
        place: The bundle.
        seconds: How long each caller waits.
    """

    def __init__(self, what: str, place: BundlePlace, seconds: float) -> None:
        super().__init__(f"loading {what} from {place.path}", seconds)
        self._place = place
        self.verify_seconds = 0.0
        self.load_seconds = 0.0

    def open(self) -> OpenBundle:
        """Set the offline switch, and open the bundle."""
        enforce_offline()
        self.stage = "verifying the manifest"
        started = time.monotonic()
        try:
            return open_place(self._place)
        finally:
            self.verify_seconds += time.monotonic() - started

    def load(self, bundle: OpenBundle, candidate: Candidate) -> Loaded:
        """Verify the files of one variant, and create a backend from them that can be used after a fork."""
        backend, verified, cosine = self.load_once(bundle, candidate)
        return Loaded(
            backend=self.wrap(backend, functools.partial(_Reload, self._place, self._seconds, bundle, candidate)),
            golden=verified.golden,
            golden_cosine=cosine,
            verify_seconds=self.verify_seconds,
            load_seconds=self.load_seconds,
        )

    def wrap(self, backend: Backend, reload: Callable[[], Task[Backend]]) -> Backend:
        """Return a loaded backend in its wrappers; see :func:`wrap_backend`."""
        return wrap_backend(backend, reload)

    def load_once(self, bundle: OpenBundle, candidate: Candidate) -> tuple[Backend, VerifiedVariant, float | None]:
        """Verify the files of one variant, create its backend, and check it with two golden texts.

        Returns:
            The parts of a :class:`Loaded`.
        """
        self.stage = f"verifying {candidate.place}"
        prepare_load()
        with network_guard():
            # Hashing releases the interpreter lock, so the libraries are imported meanwhile.
            imports = functools.partial(import_libraries, candidate.variant.backend)
            importing = DaemonThread(imports, "thoth-models-import")
            with contextlib.suppress(EnvironmentFault):  # no thread: loading imports the libraries itself
                importing.start()
            started = time.monotonic()
            try:
                verified = verify_variant(bundle, candidate.model, candidate.built, candidate.variant, spare_cores=1)
            except BaseException:
                # A process that ends while a thread imports a library aborts, and its exit code is lost.
                if importing.ident is not None:
                    importing.wait()
                raise
            finally:
                self.verify_seconds += time.monotonic() - started
            self.stage = f"loading {candidate.place}"
            started = time.monotonic()
            try:
                if importing.ident is not None:
                    importing.wait()
                with no_fork(self._seconds):
                    backend = load_backend(verified)
                golden_cosine = _check_golden(backend, verified, bundle.bundle_digest)
                assert_offline()
            finally:
                self.load_seconds += time.monotonic() - started
        log_event(
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
    """Open a bundle without loading a model.

    Args:
        place: The bundle.
        seconds: How long each caller waits.
    """

    def __init__(self, place: BundlePlace, seconds: float) -> None:
        super().__init__("nothing yet", place, seconds)

    def do(self) -> OpenBundle:
        """Return the bundle."""
        return self.open()


class LoadVariant(Loading[Loaded]):
    """Load one variant that was chosen before.

    Args:
        place: The bundle.
        seconds: How long each caller waits.
        bundle: The bundle at the time when the variant was chosen.
        candidate: The variant.
    """

    def __init__(self, place: BundlePlace, seconds: float, bundle: OpenBundle, candidate: Candidate) -> None:
        super().__init__(candidate.place, place, seconds)
        self._before = bundle
        self._candidate = candidate

    def do(self) -> Loaded:
        """Return the loaded backend."""
        bundle = self.open()
        _expect_unchanged(bundle, self._before, self._candidate, when="when this process opened the bundle")
        return self.load(bundle, self._candidate)


class _Reload(Loading["Backend"]):
    """Load the same variant again, in a child of ``fork``. There is no fallback, whose vectors might differ."""

    def __init__(self, place: BundlePlace, seconds: float, bundle: OpenBundle, candidate: Candidate) -> None:
        what = f"{candidate.place} again, in a process that was forked after it had been loaded,"
        super().__init__(what, place, seconds)
        self._before = bundle
        self._candidate = candidate

    def do(self) -> Backend:
        bundle = self.open()
        _expect_unchanged(bundle, self._before, self._candidate, when="loaded before this process was forked")
        backend, _, _ = self.load_once(bundle, self._candidate)
        return backend


def _expect_unchanged(bundle: OpenBundle, before: OpenBundle, candidate: Candidate, *, when: str) -> None:
    """Check that a variant has not changed. The bundle may have been replaced, as long as it has the same variant.

    Raises:
        VerificationError: The variant has changed, or does not exist any more.
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
    """Return everything in a manifest that decides the vectors of a variant; None if the bundle does not have it."""
    model = bundle.manifest.models.get(candidate.model.name)
    if model is None or model.built is None or candidate.variant not in model.built.variants:
        return None
    record = model.built.record
    paths = [*candidate.variant.files, *([] if record is None else [record.golden])]
    return model.dimension, model.built, [bundle.manifest.files[path] for path in paths]


def _check_golden(backend: Backend, verified: VerifiedVariant, bundle_digest: Digest) -> float | None:
    """Return the smallest cosine of two golden texts' vectors to their references; this also warms up the backend.

    Raises:
        BackendError: The vector differs: a library reads the files differently, or the processor computes wrongly.
    """
    # numpy takes longer to import than everything else, so it is imported while files are hashed, not before.
    import numpy as np  # noqa: PLC0415

    from thoth_models.bundle.agreement import compare  # noqa: PLC0415
    from thoth_models.bundle.golden import checked_at_load  # noqa: PLC0415

    golden, gate = verified.golden, verified.variant.gate
    if golden is None or gate is None:
        return None
    chosen = checked_at_load(golden, bundle_digest)
    # One by one: the first is longer than the other, which would be padded to it.
    vectors = np.concatenate(
        [
            backend.encode(
                [golden.texts[place]], prompt=golden.prompts[place], batch_size=None, show_progress_bar=False
            )
            for place in chosen
        ]
    )
    agreement = compare(golden.vectors[list(chosen)], vectors)
    if not agreement.reaches(gate.required_cosine):
        raise BackendError(
            f"golden vector of {golden.texts[chosen[agreement.worst]]!r:.80}: expected a cosine of at least "
            f"{gate.required_cosine:.5f} to the reference that was computed when the bundle was built, and its length; "
            f"found {agreement}"
        )
    return agreement.minimum_cosine
