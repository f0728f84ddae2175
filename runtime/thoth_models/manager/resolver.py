"""What answers for the names of a bundle: chosen and loaded when it is first needed, and kept within a budget."""

from __future__ import annotations

import functools
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, final

from thoth_models.errors import (
    InvalidInputError,
    LoadTimeout,
    MemoryBudgetError,
    ModelUnavailableError,
    SpaceMismatchError,
)
from thoth_models.events import tell
from thoth_models.forking import at_fork
from thoth_models.gathering import GatheringBackend
from thoth_models.keeping import KeptBackend
from thoth_models.loading import (
    LOAD_FAILURES,
    bundle_root,
    failed,
    make_embedding,
    tell_fallback,
    tell_refusal,
    warn_fallback,
)
from thoth_models.loads import Choice, LoadVariant, OpenOnly
from thoth_models.memory import give_back, resident_bytes
from thoth_models.pool import Pool
from thoth_models.selection import DEFAULT, expected_space, model_of, select
from thoth_models.statistics import Counters, CountingBackend

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.config import ManagerConfig
    from thoth_models.embedding import Embedding
    from thoth_models.errors import Attempt
    from thoth_models.info import EmbeddingInfo
    from thoth_models.loads import Loaded
    from thoth_models.manifest import Manifest
    from thoth_models.pool import Lease
    from thoth_models.selection import Candidate
    from thoth_models.verify import OpenBundle


@final
class Answers:
    """What answers for each name: what was loaded for it first, while that can be loaded. Threads may share it.

    Attributes:
        counters: What became of each model.
        budget: Bytes that loaded models may take together; None for no limit.
        loaded: The models that are loaded, by :attr:`Candidate.place`.

    Args:
        config: Settings.
    """

    def __init__(self, config: ManagerConfig) -> None:
        self.config = config
        # Absolute now: the working directory may change.
        self._path = bundle_root(config.root).absolute()
        self.counters = Counters()
        self.budget = config.budget()
        self.loaded: Pool[Loaded] = Pool(self.budget, self._evicted)
        self._bundle: Pool[OpenBundle] = Pool(None, lambda key, size: None)  # noqa: ARG005 - is never full
        self._choices: dict[str | None, Choice] = {}
        self._lock = threading.RLock()  # a signal handler may call while its own thread does
        at_fork(self)

    def take(self, name: str) -> tuple[Embedding, KeptBackend]:
        """Return what answers for a name, loaded, and its use, which whoever calls this ends.

        Raises:
            ThothModelsError: Nothing can answer within the deadline; see :meth:`EmbeddingManager.encode`.
        """
        deadline = time.monotonic() + self.config.timeout
        bundle = self._opened()
        requested = _requested(bundle.manifest, name)
        choice, tried = self._choices.get(requested), None
        if choice is not None:
            try:
                return self._used(bundle, choice, deadline)
            except LOAD_FAILURES as error:
                # It was given up, and cannot be loaded again.
                tried = choice.candidate.place, self._failed(choice.candidate, error)
        try:
            return self._choose(bundle, requested, deadline, tried)
        except (SpaceMismatchError, MemoryBudgetError, LoadTimeout) as error:
            self.counters.add(model_of(bundle.manifest, requested), refusals=1)
            tell_refusal(requested, error)
            raise

    def manifest(self) -> Manifest:
        """Return what the bundle holds.

        Raises:
            BundleError: It cannot be opened.
            LoadTimeout: Not within the deadline.
            ManagerClosedError: :meth:`close` was called.
        """
        return self._opened().manifest

    def place(self, name: str) -> str | None:
        """Return where what answers for a name is, ``model/variant``; None where nothing was loaded for it yet.

        Raises:
            InvalidInputError: ``name`` is no name.
            BundleError: The bundle cannot be opened.
        """
        choice = self._choices.get(_requested(self.manifest(), name))
        return None if choice is None else choice.candidate.place

    def close(self) -> None:
        """Give up all models, those in use at the end of their use; nothing is loaded any more."""
        self.loaded.close()
        self._bundle.close()

    def _choose(
        self, bundle: OpenBundle, requested: str | None, deadline: float, tried: tuple[str, Attempt] | None
    ) -> tuple[Embedding, KeptBackend]:
        selection = select(
            bundle.manifest,
            requested,
            variants=self.config.variants,
            same_space=self.config.same_space,
            expect_space=expected_space(bundle.manifest, requested, self.config.expect_spaces),
        )
        attempts = list(selection.passed_over)
        for candidate in selection.candidates:
            if tried is not None and candidate.place == tried[0]:
                attempts.append(tried[1])
                continue
            size = resident_bytes(bundle.manifest, candidate.variant)
            if self.budget is not None and size > self.budget:
                reason = f"it takes {size} bytes of memory, and the budget is {self.budget}"
                attempts.append(self._failed(candidate, MemoryBudgetError(reason)))
                continue
            choice = Choice(requested=selection.requested, candidate=candidate, attempts=tuple(attempts))
            try:
                embedding, kept = self._used(bundle, choice, deadline)
            except LOAD_FAILURES as error:
                attempts.append(self._failed(candidate, error))
                continue
            try:
                self._settle(requested, choice, embedding.info)
            except BaseException:  # a warning may be an error
                kept.release()
                raise
            return embedding, kept
        raise ModelUnavailableError(selection.requested, attempts)

    def _settle(self, requested: str | None, choice: Choice, info: EmbeddingInfo) -> None:
        """Keep what answers for a name; where it is of another space than before, say so."""
        if info.fallback is not None and self._is_another_space(requested, choice):
            # Before it is kept: where a warning is an error, so it is for every call.
            warn_fallback(info.fallback)
        with self._lock:
            is_first = self._is_another_space(requested, choice)
            self._choices[requested] = choice
        if info.fallback is not None and is_first:
            self.counters.add(choice.candidate.model.name, fallbacks=1)
            tell_fallback(info)

    def _is_another_space(self, requested: str | None, choice: Choice) -> bool:
        before = self._choices.get(requested)
        return before is None or before.candidate.built.space != choice.candidate.built.space

    def _failed(self, candidate: Candidate, error: Exception) -> Attempt:
        self.counters.add(candidate.model.name, refusals=1)
        return failed(candidate, error)

    def _used(self, bundle: OpenBundle, choice: Choice, deadline: float) -> tuple[Embedding, KeptBackend]:
        lease = self._lease(bundle, choice, deadline)
        try:
            kept = KeptBackend(lease, functools.partial(self._lease_again, choice))
            loaded = replace(lease.thing, backend=kept)
            return make_embedding(bundle, choice.requested, choice.candidate, loaded, choice.attempts), kept
        except BaseException:
            lease.release()
            raise

    def _lease(self, bundle: OpenBundle, choice: Choice, deadline: float) -> Lease[Loaded]:
        candidate, path, config, counters = choice.candidate, self._path, self.config, self.counters
        return self.loaded.lease(
            candidate.place,
            resident_bytes(bundle.manifest, candidate.variant),
            lambda: _Load(path, bundle, candidate, config, counters),
            max(0.0, deadline - time.monotonic()),
        )

    def _lease_again(self, choice: Choice) -> Lease[Loaded]:
        """Return a new use of what was chosen: of the same variant of the same model."""
        deadline = time.monotonic() + self.config.timeout
        return self._lease(self._opened(), choice, deadline)

    def _opened(self) -> OpenBundle:
        seconds = self.config.timeout
        lease = self._bundle.lease("bundle", 0, lambda: OpenOnly(self._path, seconds), seconds)
        bundle = lease.thing
        lease.release()
        return bundle

    def _evicted(self, key: str, size: int) -> None:
        give_back()
        model, _, variant = key.partition("/")
        self.counters.add(model, evictions=1)
        tell("eviction", model=model, variant=variant, bytes=size)

    def _inherited(self) -> None:
        self._lock = threading.RLock()  # a thread of the parent may have held the other


def _requested(manifest: Manifest, name: object) -> str | None:
    """Return the name to look for; None for the bundle's default model."""
    if name is not None and not isinstance(name, str):
        raise InvalidInputError(f"model: expected a name, found {type(name).__name__}")
    return None if name == DEFAULT and DEFAULT not in manifest.names() else name


@final
class _Load(LoadVariant):
    """Loading one variant, which is counted, as its calls are."""

    def __init__(
        self, path: Path, bundle: OpenBundle, candidate: Candidate, config: ManagerConfig, counters: Counters
    ) -> None:
        super().__init__(path, config.timeout, bundle, candidate)
        self._gather = config.gather
        self._counters = counters

    def do(self) -> Loaded:
        loaded, name = super().do(), self._candidate.model.name
        self._counters.add(name, loads=1, verify_seconds=loaded.verify_seconds, load_seconds=loaded.load_seconds)
        backend = GatheringBackend(loaded.backend) if self._gather else loaded.backend
        return replace(loaded, backend=CountingBackend(backend, self._counters, name))
