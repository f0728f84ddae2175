"""Resolve names to loaded models, which are chosen and loaded on demand, and kept within a memory budget."""

from __future__ import annotations

import functools
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

from thoth_models.backends.wrapping import wrap_backend
from thoth_models.bundle.selection import model_of
from thoth_models.errors import (
    LoadTimeout,
    MemoryBudgetError,
    ModelUnavailableError,
    SpaceMismatchError,
)
from thoth_models.events import log_event
from thoth_models.loading.fallback import (
    LOAD_FAILURES,
    failed,
    log_fallback,
    log_refusal,
    make_embedding,
    warn_fallback,
)
from thoth_models.loading.tasks import LoadVariant, OpenOnly
from thoth_models.manager.leased_backend import LeasedBackend
from thoth_models.manager.memory import give_back, resident_bytes
from thoth_models.manager.names import name_in_bundle, resolve
from thoth_models.manager.pool import Pool
from thoth_models.manager.stats import Counters
from thoth_models.process.fork import ForkAware, at_fork

if TYPE_CHECKING:
    from collections.abc import Callable

    from thoth_models.bundle.manifest import Manifest
    from thoth_models.bundle.selection import Candidate
    from thoth_models.embedding import Embedding
    from thoth_models.errors import Attempt
    from thoth_models.info import EmbeddingInfo
    from thoth_models.loading.tasks import Loaded
    from thoth_models.manager.config import ManagerConfig
    from thoth_models.manager.pool import Lease
    from thoth_models.process.environment import BundlePlace
    from thoth_models.process.task import Task
    from thoth_models.types import Backend
    from thoth_models.verification.verify import OpenBundle


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The variant that was loaded for a name, and answers for it from then on.

    Attributes:
        requested: The name.
        candidate: The variant.
        attempts: Variants that were tried before, and failed.
    """

    requested: str
    candidate: Candidate
    attempts: tuple[Attempt, ...]


@final
class ModelResolver(ForkAware):
    """Resolves a name to the model that was first loaded for it, as long as it can be loaded. Threads may share it.

    Attributes:
        counters: Statistics by model.
        budget: Memory budget in bytes; None for no limit.
        loaded: The models that are loaded, by :attr:`Candidate.place`.

    Args:
        config: Settings.
    """

    def __init__(self, config: ManagerConfig) -> None:
        self.config = config
        self._place = config.place()
        self.counters = Counters()
        self.budget = config.budget()
        self.loaded: Pool[Loaded] = Pool(self.budget, self._evicted)
        self._bundle: Pool[OpenBundle] = Pool(None, lambda key, size: None)  # noqa: ARG005 - is never full
        self._choices: dict[str | None, Choice] = {}
        self._lock = threading.RLock()  # reentrant: a signal handler may call this while its own thread does
        at_fork(self)

    def take(self, name: str) -> tuple[Embedding, LeasedBackend]:
        """Return the loaded model that answers for a name, and its lease, which the caller releases.

        Raises:
            ThothModelsError: No model can answer within the deadline; see :meth:`EmbeddingManager.encode`.
        """
        deadline = time.monotonic() + self.config.timeout
        bundle = self._opened()
        requested = name_in_bundle(bundle.manifest, name)
        choice, tried = self._choices.get(requested), None
        if choice is not None:
            try:
                return self._used(bundle, choice, deadline)
            except LOAD_FAILURES as error:
                # It was evicted, and cannot be loaded again.
                tried = choice.candidate.place, self._failed(choice.candidate, error)
        try:
            return self._choose(bundle, requested, deadline, tried)
        except (SpaceMismatchError, MemoryBudgetError, LoadTimeout) as error:
            self.counters.add(model_of(bundle.manifest, requested), refusals=1)
            log_refusal(requested, error)
            raise

    def manifest(self) -> Manifest:
        """Return the opened bundle.

        Raises:
            BundleError: The bundle cannot be opened.
            LoadTimeout: The deadline passed.
            ManagerClosedError: :meth:`close` was called.
        """
        return self._opened().manifest

    def bundle_digest(self) -> str:
        """Return the sha256 of the bundle's manifest; raises the same errors as :meth:`manifest`."""
        return self._opened().bundle_digest.hex

    def place(self, name: str) -> str | None:
        """Return which variant answers for a name, as ``model/variant``; None if none was loaded for it yet.

        Raises:
            InvalidInputError: ``name`` is not a str.
            BundleError: The bundle cannot be opened.
        """
        choice = self._choices.get(name_in_bundle(self.manifest(), name))
        return None if choice is None else choice.candidate.place

    def close(self) -> None:
        """Evict all models, those in use as soon as they are released, and refuse later calls."""
        self.loaded.close()
        self._bundle.close()

    def _choose(
        self, bundle: OpenBundle, requested: str | None, deadline: float, tried: tuple[str, Attempt] | None
    ) -> tuple[Embedding, LeasedBackend]:
        selection = resolve(bundle.manifest, requested, self.config)
        attempts = list(selection.passed_over)
        for candidate in selection.candidates:
            if tried is not None and candidate.place == tried[0]:
                attempts.append(tried[1])
                continue
            size = resident_bytes(bundle.manifest, candidate.variant)
            if self.budget is not None and size > self.budget:
                reason = f"it needs {size} bytes of memory, and the budget is {self.budget}"
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
            except BaseException:  # warnings may be errors
                kept.release()
                raise
            return embedding, kept
        raise ModelUnavailableError(selection.requested, attempts)

    def _settle(self, requested: str | None, choice: Choice, info: EmbeddingInfo) -> None:
        """Store the choice for a name, and report it if it has another space than the previous one."""
        if info.fallback is not None and self._is_another_space(requested, choice):
            # Before the choice is stored: if warnings are errors, every call has to raise, not only the first.
            warn_fallback(info.fallback)
        with self._lock:
            is_first = self._is_another_space(requested, choice)
            self._choices[requested] = choice
        if info.fallback is not None and is_first:
            self.counters.add(choice.candidate.model.name, fallbacks=1)
            log_fallback(info)

    def _is_another_space(self, requested: str | None, choice: Choice) -> bool:
        before = self._choices.get(requested)
        return before is None or before.candidate.built.space != choice.candidate.built.space

    def _failed(self, candidate: Candidate, error: Exception) -> Attempt:
        self.counters.add(candidate.model.name, refusals=1)
        return failed(candidate, error)

    def _used(self, bundle: OpenBundle, choice: Choice, deadline: float) -> tuple[Embedding, LeasedBackend]:
        lease = self._lease(bundle, choice, deadline)
        try:
            kept = LeasedBackend(lease, functools.partial(self._lease_again, choice))
            loaded = replace(lease.thing, backend=kept)
            return self._embedding(bundle, choice, loaded), kept
        except BaseException:
            lease.release()
            raise

    def _embedding(self, bundle: OpenBundle, choice: Choice, loaded: Loaded) -> Embedding:
        requested, candidate, attempts = choice.requested, choice.candidate, choice.attempts
        return make_embedding(bundle, requested, candidate, loaded, attempts, settings=self.config.changed)

    def _lease(self, bundle: OpenBundle, choice: Choice, deadline: float) -> Lease[Loaded]:
        candidate, place, config, counters = choice.candidate, self._place, self.config, self.counters
        return self.loaded.lease(
            candidate.place,
            resident_bytes(bundle.manifest, candidate.variant),
            lambda: _Load(place, bundle, candidate, config, counters),
            max(0.0, deadline - time.monotonic()),
        )

    def _lease_again(self, choice: Choice) -> Lease[Loaded]:
        """Return a new lease of the same variant of the same model."""
        deadline = time.monotonic() + self.config.timeout
        return self._lease(self._opened(), choice, deadline)

    def _opened(self) -> OpenBundle:
        seconds = self.config.timeout
        lease = self._bundle.lease("bundle", 0, lambda: OpenOnly(self._place, seconds), seconds)
        bundle = lease.thing
        lease.release()
        return bundle

    def _evicted(self, key: str, size: int) -> None:
        give_back()
        model, _, variant = key.partition("/")
        self.counters.add(model, evictions=1)
        log_event("eviction", model=model, variant=variant, bytes=size)

    def after_fork_in_child(self) -> None:
        """Create a new lock, because a thread of the parent may hold the old one."""
        self._lock = threading.RLock()


@final
class _Load(LoadVariant):
    """Loads one variant, and counts the load and its calls."""

    def __init__(
        self, place: BundlePlace, bundle: OpenBundle, candidate: Candidate, config: ManagerConfig, counters: Counters
    ) -> None:
        super().__init__(place, config.timeout, bundle, candidate)
        self._gather = config.gather
        self._count = functools.partial(counters.add, candidate.model.name)

    def do(self) -> Loaded:
        loaded = super().do()
        self._count(loads=1, verify_seconds=loaded.verify_seconds, load_seconds=loaded.load_seconds)
        return loaded

    def wrap(self, backend: Backend, reload: Callable[[], Task[Backend]]) -> Backend:
        return wrap_backend(backend, reload, batches=self._gather, count=self._count)
