"""``EmbeddingManager``: the one object that a service holds."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, final

from thoth_models.callers import DaemonThreads
from thoth_models.config import ManagerConfig
from thoth_models.errors import (
    FallbackWarning,
    InvalidInputError,
    LoadTimeout,
    ManagerClosedError,
    MemoryBudgetError,
    ModelUnavailableError,
    SpaceMismatchError,
)
from thoth_models.events import tell
from thoth_models.forking import at_fork
from thoth_models.gathering import GatheringBackend
from thoth_models.instances import Instances
from thoth_models.keeping import KeptBackend
from thoth_models.loading import LOAD_FAILURES, bundle_root, failed, make_embedding, tell_fallback, tell_refusal
from thoth_models.loads import Choice, LoadVariant, OpenOnly
from thoth_models.memory import give_back, resident_bytes
from thoth_models.pool import CLOSED, Pool
from thoth_models.selection import expected_space, select
from thoth_models.statistics import Counters, CountingBackend, ManagerStats, ModelStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from thoth_models.embedding import Embedding, FloatArray
    from thoth_models.info import EmbeddingInfo
    from thoth_models.loads import Loaded
    from thoth_models.pool import Lease
    from thoth_models.selection import Candidate
    from thoth_models.verify import OpenBundle

T = TypeVar("T")

DEFAULT = "default"
"""The name that stands for the bundle's default model, where no model or alias is called that."""


@final
class EmbeddingManager:
    """Embedding models of one bundle, loaded when they are first needed. Threads and children of fork may share it.

    A model is loaded once, however many threads ask for it; within the memory budget it stays loaded, and beyond it the
    least recently used one is given up that nobody uses. Small calls that come while another one runs are run together.

    Args:
        config: Settings; None for the default ones.
    """

    def __init__(self, config: ManagerConfig | None = None) -> None:
        self.config = ManagerConfig() if config is None else config
        # Absolute now: the working directory may change.
        self._path = bundle_root(self.config.root).absolute()
        self._counters = Counters()
        self._budget = self.config.budget()
        self._bundle: Pool[OpenBundle] = Pool(None, lambda key, size: None)  # noqa: ARG005 - is never full
        self._models: Pool[Loaded] = Pool(self._budget, self._evicted)
        self._choices: dict[str | None, Choice] = {}
        self._lock = threading.RLock()  # a signal handler may close the manager while its own thread uses it
        self._threads: DaemonThreads | None = None
        self._is_closed = False
        at_fork(self)

    @classmethod
    def get_instance(cls, config: ManagerConfig | None = None) -> EmbeddingManager:
        """Return the manager of this process for ``config``, which is made at the first call.

        Equal settings give the same manager, also to threads that ask at once; a child of fork has one of its own,
        which begins with what its parent had loaded. One that was closed is replaced.

        Raises:
            EnvironmentFault: ``THOTH_MODELS_MEMORY`` is no size.
        """
        return _instances.get(ManagerConfig() if config is None else config)

    def encode(
        self,
        texts: str | Iterable[str],
        model: str = DEFAULT,
        **options: Any,  # noqa: ANN401 - those of Embedding.encode
    ) -> FloatArray:
        """Return the vectors of ``texts``.

        Args:
            texts: One text, or any iterable of texts.
            model: Name or alias; ``default`` is the bundle's default model where nothing is called that.
            options: Those of :meth:`Embedding.encode`, which are those of sentence-transformers.

        Returns:
            float32 of shape (n, dimension) for n texts, also for n = 0; (dimension,) for one str.

        Warns:
            FallbackWarning: A model of another embedding space answers; once per name.

        Raises:
            InvalidInputError: An input is not a str (the message names its index), or an option is out of range.
            MemoryBudgetError: Models in use leave no room for this one within the deadline.
            ManagerClosedError: The manager was closed.
            ThothModelsError: The model cannot be loaded; see :func:`load_embedding`.
        """
        with self.use(model) as embedding:
            return embedding.encode(texts, **options)

    def encode_query(self, texts: str | Iterable[str], model: str = DEFAULT, **options: Any) -> FloatArray:  # noqa: ANN401
        """Return the vectors of search queries, as :meth:`Embedding.encode_query` makes them, like :meth:`encode`."""
        with self.use(model) as embedding:
            return embedding.encode_query(texts, **options)

    def encode_document(self, texts: str | Iterable[str], model: str = DEFAULT, **options: Any) -> FloatArray:  # noqa: ANN401
        """Return the vectors of documents, as :meth:`Embedding.encode_document` makes them, like :meth:`encode`."""
        with self.use(model) as embedding:
            return embedding.encode_document(texts, **options)

    async def aencode(
        self,
        texts: str | Iterable[str],
        model: str = DEFAULT,
        **options: Any,  # noqa: ANN401 - those of Embedding.encode
    ) -> FloatArray:
        """Return what :meth:`encode` returns, without ever keeping the event loop from other work.

        Cancelling it leaves the call to itself: it goes on in its thread, and its result is dropped.
        """
        return await self.in_thread(functools.partial(self.encode, texts, model, **options))

    async def aencode_query(self, texts: str | Iterable[str], model: str = DEFAULT, **options: Any) -> FloatArray:  # noqa: ANN401
        """Return what :meth:`encode_query` returns, as :meth:`aencode` does."""
        return await self.in_thread(functools.partial(self.encode_query, texts, model, **options))

    async def aencode_document(self, texts: str | Iterable[str], model: str = DEFAULT, **options: Any) -> FloatArray:  # noqa: ANN401
        """Return what :meth:`encode_document` returns, as :meth:`aencode` does."""
        return await self.in_thread(functools.partial(self.encode_document, texts, model, **options))

    @contextlib.contextmanager
    def use(self, model: str = DEFAULT) -> Iterator[Embedding]:
        """Yield a model, loaded; it stays loaded until the end of the ``with`` statement.

        Raises:
            Everything that :meth:`encode` raises for a model that cannot be loaded.
        """
        embedding, lease = self._take(model)
        try:
            yield embedding
        finally:
            lease.release()

    def get_model(self, name: str = DEFAULT) -> Embedding:
        """Return a model, loaded; it stays loaded as long as the caller keeps what is returned.

        Raises:
            Everything that :meth:`encode` raises for a model that cannot be loaded.
        """
        embedding, lease = self._take(name)
        return embedding.over(KeptBackend(lease, functools.partial(self._lease_again, embedding.info)))

    async def aget_model(self, name: str = DEFAULT) -> Embedding:
        """Return what :meth:`get_model` returns, without keeping the event loop from other work while it is loaded."""
        return await self.in_thread(functools.partial(self.get_model, name))

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, called in one of the threads of asynchronous calls.

        Not in those of the event loop, which names are looked up in: loading a model may take long.

        Raises:
            ManagerClosedError: The manager was closed.
        """
        return await asyncio.wrap_future(self._submit(function))

    def preload_models(self, names: Iterable[str]) -> dict[str, EmbeddingInfo]:
        """Load models one after the other, and return where each comes from, by the names given.

        Raises:
            Everything that :meth:`encode` raises for a model that cannot be loaded; the first failure ends it.
        """
        found: dict[str, EmbeddingInfo] = {}
        for name in names:
            with self.use(name) as embedding:
                found[name] = embedding.info
        return found

    @classmethod
    def preload_common_models(cls, config: ManagerConfig | None = None) -> dict[str, EmbeddingInfo]:
        """Load ``config.common_models``, or every model of the bundle, into the manager of this process.

        For the start of a service: it fails as loudly as :meth:`preload_models`.
        """
        manager = cls.get_instance(config)
        names = manager.config.common_models
        return manager.preload_models(manager.names() if names is None else names)

    def names(self) -> list[str]:
        """Return the names of the models that the bundle has, the default one first."""
        manifest = self._opened(self.config.timeout).manifest
        built = [name for name, model in manifest.models.items() if model.built is not None]
        return sorted(built, key=lambda name: (name != manifest.default, name))

    def is_loaded(self, name: str = DEFAULT) -> bool:
        """Return whether a call for ``name`` would be answered without loading anything.

        Raises:
            InvalidInputError: ``name`` is no name.
            BundleError: The bundle cannot be opened.
        """
        choice = self._choices.get(self._requested(self._opened(self.config.timeout), name))
        return choice is not None and choice.candidate.place in {resident.key for resident in self._models.residents()}

    def unload(self, name: str | None = None) -> bool:
        """Give up a model, or all of them, now; say whether none of them stayed because it is in use."""
        if name is None:
            wanted = {resident.key for resident in self._models.residents()}
        else:
            bundle = self._opened(self.config.timeout)
            choice = self._choices.get(self._requested(bundle, name))
            wanted = set() if choice is None else {choice.candidate.place}
        for key in wanted:
            self._models.evict(key)
        return not wanted & {resident.key for resident in self._models.residents()}

    def stats(self) -> ManagerStats:
        """Return what this manager did in this process, and holds now."""
        models = self._counters.snapshot()
        for resident in self._models.residents():
            model = resident.key.partition("/")[0]
            before = models.get(model, ModelStats())
            models[model] = replace(
                before, resident_bytes=before.resident_bytes + resident.size, uses=before.uses + resident.uses
            )
        return ManagerStats(models=models, memory_budget=self._budget, reserved_bytes=self._models.reserved)

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._is_closed

    def close(self) -> None:
        """Give up all models: those in use at the end of their use. Whoever calls the manager then is refused."""
        with self._lock:
            self._is_closed = True
            threads, self._threads = self._threads, None
        self._models.close()
        self._bundle.close()
        if threads is not None:
            threads.close()

    def __enter__(self) -> EmbeddingManager:
        """Return itself; the end of the ``with`` statement closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _take(self, name: str) -> tuple[Embedding, Lease[Loaded]]:
        deadline = time.monotonic() + self.config.timeout
        bundle = self._opened(self.config.timeout)
        requested = self._requested(bundle, name)
        choice = self._choices.get(requested)
        if choice is not None:
            try:
                return self._lease(bundle, choice, deadline)
            except LOAD_FAILURES as error:
                # It was given up, and cannot be loaded again.
                failed(choice.candidate, error)
        try:
            return self._choose(bundle, requested, deadline)
        except (SpaceMismatchError, MemoryBudgetError, LoadTimeout) as error:
            tell_refusal(requested, error)
            raise

    def _choose(self, bundle: OpenBundle, requested: str | None, deadline: float) -> tuple[Embedding, Lease[Loaded]]:
        selection = select(
            bundle.manifest,
            requested,
            variants=self.config.variants,
            same_space=self.config.same_space,
            expect_space=expected_space(bundle.manifest, requested, self.config.expect_spaces, default=DEFAULT),
        )
        attempts = list(selection.passed_over)
        for candidate in selection.candidates:
            size = resident_bytes(bundle.manifest, candidate.variant)
            if self._budget is not None and size > self._budget:
                reason = f"it takes {size} bytes of memory, and the budget is {self._budget}"
                attempts.append(failed(candidate, MemoryBudgetError(reason)))
                self._counters.add(candidate.model.name, refusals=1)
                continue
            choice = Choice(requested=selection.requested, candidate=candidate, attempts=tuple(attempts))
            try:
                embedding, lease = self._lease(bundle, choice, deadline)
            except LOAD_FAILURES as error:
                self._counters.add(candidate.model.name, refusals=1)
                attempts.append(failed(candidate, error))
                continue
            try:
                self._settle(requested, choice, embedding)
            except BaseException:  # a warning may be an error
                lease.release()
                raise
            return embedding, lease
        raise ModelUnavailableError(selection.requested, attempts)

    def _settle(self, requested: str | None, choice: Choice, embedding: Embedding) -> None:
        """Keep what answers for a name; where it is of another space, say so, once."""
        with self._lock:
            before, self._choices[requested] = self._choices.get(requested), choice
        reason = embedding.info.fallback
        if reason is not None and (before is None or before.candidate.place != choice.candidate.place):
            self._counters.add(choice.candidate.model.name, fallbacks=1)
            tell_fallback(embedding.info)
            warnings.warn(FallbackWarning(reason), stacklevel=6)

    def _lease(self, bundle: OpenBundle, choice: Choice, deadline: float) -> tuple[Embedding, Lease[Loaded]]:
        candidate, path, timeout = choice.candidate, self._path, self.config.timeout
        lease = self._models.lease(
            candidate.place,
            resident_bytes(bundle.manifest, candidate.variant),
            lambda: _Load(path, timeout, bundle, candidate, self),
            max(0.0, deadline - time.monotonic()),
        )
        try:
            return make_embedding(bundle, choice.requested, candidate, lease.thing, choice.attempts), lease
        except BaseException:
            lease.release()
            raise

    def _lease_again(self, info: EmbeddingInfo) -> Lease[Loaded]:
        """Return a new use of what ``info`` tells of, the same variant of the same model."""
        bundle, place = self._opened(self.config.timeout), f"{info.model}/{info.variant}"
        candidates = select(bundle.manifest, info.model, expect_space=info.space).candidates
        candidate = next(candidate for candidate in candidates if candidate.place == place)
        choice = Choice(requested=info.requested, candidate=candidate, attempts=info.attempts)
        return self._lease(bundle, choice, time.monotonic() + self.config.timeout)[1]

    def _opened(self, seconds: float) -> OpenBundle:
        lease = self._bundle.lease("bundle", 0, lambda: OpenOnly(self._path, seconds), seconds)
        lease.release()
        return lease.thing

    def _requested(self, bundle: OpenBundle, name: object) -> str | None:
        """Return the name to look for; None for the bundle's default model."""
        if name is not None and not isinstance(name, str):
            raise InvalidInputError(f"model: expected a name, found {type(name).__name__}")
        return None if name == DEFAULT and DEFAULT not in bundle.manifest.names() else name

    def _evicted(self, key: str, size: int) -> None:
        give_back()
        model, _, variant = key.partition("/")
        self._counters.add(model, evictions=1)
        tell("eviction", model=model, variant=variant, bytes=size)

    def _submit(self, function: Callable[[], T]) -> Future[T]:
        with self._lock:
            if self._is_closed:
                raise ManagerClosedError(CLOSED)
            if self._threads is None:
                self._threads = DaemonThreads(self.config.async_threads, "thoth-models-encode")
            return self._threads.submit(function)

    def _inherited(self) -> None:
        """Be what a child of ``fork`` can use: the threads are the parent's."""
        self._lock = threading.RLock()
        self._threads = None


@final
class _Load(LoadVariant):
    """Loading one variant for a manager, which counts it."""

    def __init__(
        self, path: Path, seconds: float, bundle: OpenBundle, candidate: Candidate, manager: EmbeddingManager
    ) -> None:
        super().__init__(path, seconds, bundle, candidate)
        self._manager = manager

    def do(self) -> Loaded:
        loaded, name = super().do(), self._candidate.model.name
        counters, gather = self._manager._counters, self._manager.config.gather  # noqa: SLF001 - the other half of it
        counters.add(name, loads=1, verify_seconds=loaded.verify_seconds, load_seconds=loaded.load_seconds)
        backend = GatheringBackend(loaded.backend) if gather else loaded.backend
        return replace(loaded, backend=CountingBackend(backend, counters, name))


_instances: Instances[ManagerConfig, EmbeddingManager] = Instances(EmbeddingManager, lambda made: not made.is_closed)
