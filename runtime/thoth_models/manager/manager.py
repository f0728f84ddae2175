"""``EmbeddingManager``: the one object that a service holds."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, final

from thoth_models.answers import Answers
from thoth_models.callers import DaemonThreads
from thoth_models.config import ManagerConfig
from thoth_models.errors import ManagerClosedError
from thoth_models.forking import at_fork
from thoth_models.instances import Instances
from thoth_models.pool import CLOSED
from thoth_models.selection import DEFAULT
from thoth_models.statistics import ManagerStats, ModelStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from thoth_models.embedding import Embedding, FloatArray
    from thoth_models.info import EmbeddingInfo

T = TypeVar("T")


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
        self._answers = Answers(self.config)
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
            FallbackWarning: A model of another embedding space answers; once per name and space.

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
        """Yield a model, loaded; it stays loaded until the end of the ``with`` statement, and encodes nothing after it.

        Raises:
            Everything that :meth:`encode` raises for a model that cannot be loaded.
        """
        embedding, kept = self._answers.take(model)
        try:
            yield embedding
        finally:
            kept.release()

    def get_model(self, name: str = DEFAULT) -> Embedding:
        """Return a model, loaded; it stays loaded as long as the caller keeps what is returned.

        Raises:
            Everything that :meth:`encode` raises for a model that cannot be loaded.
        """
        return self._answers.take(name)[0]

    async def aget_model(self, name: str = DEFAULT) -> Embedding:
        """Return what :meth:`get_model` returns, without keeping the event loop from other work while it is loaded."""
        return await self.in_thread(functools.partial(self.get_model, name))

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, called in one of the threads of asynchronous calls.

        Not in those of the event loop, which names are looked up in: loading a model may take long.

        Raises:
            ManagerClosedError: The manager was closed.
            EnvironmentFault: This process may start no thread, and none of them is there yet.
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
        manifest = self._answers.manifest()
        built = [name for name, model in manifest.models.items() if model.built is not None]
        return sorted(built, key=lambda name: (name != manifest.default, name))

    def is_loaded(self, name: str = DEFAULT) -> bool:
        """Return whether a call for ``name`` would be answered without loading anything.

        Raises:
            InvalidInputError: ``name`` is no name.
            BundleError: The bundle cannot be opened.
        """
        return self._answers.place(name) in {resident.key for resident in self._answers.loaded.residents()}

    def unload(self, name: str | None = None) -> bool:
        """Give up a model, or all of them, now; say whether none of them stayed because it is in use."""
        loaded = self._answers.loaded
        if name is None:
            wanted = {resident.key for resident in loaded.residents()}
        else:
            place = self._answers.place(name)
            wanted = set() if place is None else {place}
        for key in wanted:
            loaded.evict(key)
        return not wanted & {resident.key for resident in loaded.residents()}

    def stats(self) -> ManagerStats:
        """Return what this manager did in this process, and holds now."""
        answers = self._answers
        models = answers.counters.snapshot()
        for resident in answers.loaded.residents():
            model = resident.key.partition("/")[0]
            before = models.get(model, ModelStats())
            models[model] = replace(
                before, resident_bytes=before.resident_bytes + resident.size, uses=before.uses + resident.uses
            )
        return ManagerStats(models=models, memory_budget=answers.budget, reserved_bytes=answers.loaded.reserved)

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._is_closed

    def close(self) -> None:
        """Give up all models: those in use at the end of their use. Whoever calls the manager then is refused."""
        with self._lock:
            self._is_closed = True
            threads, self._threads = self._threads, None
        self._answers.close()
        if threads is not None:
            threads.close()

    def __enter__(self) -> EmbeddingManager:
        """Return itself; the end of the ``with`` statement closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

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


_instances: Instances[ManagerConfig, EmbeddingManager] = Instances(EmbeddingManager, lambda made: not made.is_closed)
