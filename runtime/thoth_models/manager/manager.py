"""``EmbeddingManager``: the one object that a service needs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, final

from thoth_models.bundle.selection import DEFAULT
from thoth_models.errors import InvalidInputError, ManagerClosedError, NotPicklableError
from thoth_models.manager.config import ManagerConfig
from thoth_models.manager.instances import Instances
from thoth_models.manager.pool import CLOSED
from thoth_models.manager.resolver import ModelResolver
from thoth_models.manager.stats import ManagerStats, ModelStats
from thoth_models.process.daemon_executor import DaemonExecutor
from thoth_models.process.fork import ForkAware, at_fork
from thoth_models.references import SharedObject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from thoth_models.embedding import Embedding
    from thoth_models.info import EmbeddingInfo
    from thoth_models.types import FloatArray

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")


def _without_parameters(method: F) -> F:
    """Show a class method without its parameters to code that inspects it, such as ``Depends`` of FastAPI.

    A web framework fills in the parameters that it finds from the request. Clients would choose the settings.
    """
    owner = inspect.Parameter("cls", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    shown = inspect.signature(method).replace(parameters=[owner])
    method.__signature__ = shown  # type: ignore[attr-defined]
    return method


@final
class EmbeddingManager(SharedObject, ForkAware):
    """The embedding models of one bundle, loaded on demand. Threads and children of fork may share it.

    A model is loaded once, however many threads need it, and stays loaded within the memory budget; beyond the budget,
    the least recently used model that is not in use is evicted. Small calls that arrive while another one runs are
    joined into one batch.

    Copying returns the same object. A manager of :meth:`get_instance` can be pickled, and becomes the manager of the
    other process for the same settings; one that was constructed directly cannot.

    Args:
        config: Settings; None for the defaults.
    """

    def __init__(self, config: ManagerConfig | None = None) -> None:
        self.config = ManagerConfig() if config is None else config
        self._resolver = ModelResolver(self.config)
        self._lock = threading.RLock()  # reentrant: a signal handler may close the manager while its own thread uses it
        self._threads: DaemonExecutor | None = None
        self._is_closed = False
        self._is_shared = False
        at_fork(self)

    @classmethod
    @_without_parameters
    def get_instance(cls, config: ManagerConfig | None = None) -> EmbeddingManager:
        """Return the manager of this process for ``config``; the first call creates it.

        Equal settings give the same manager, in all threads. A child of fork has its own, which has the same models as
        its parent's. A closed manager is replaced.

        ``Depends(EmbeddingManager.get_instance)`` gives FastAPI the manager of the default settings: ``config`` is
        hidden from inspection, because a request would set it.

        Args:
            config: Settings; None for the defaults.

        Raises:
            EnvironmentFault: ``THOTH_MODELS_MEMORY`` does not have a valid size.
        """
        return _instances.get(ManagerConfig() if config is None else config)

    def encode(
        self,
        texts: str | Iterable[str],
        model: str = DEFAULT,
        **options: Any,  # noqa: ANN401 - the options of Embedding.encode
    ) -> FloatArray:
        """Return the vectors of ``texts``.

        Args:
            texts: One text, or any iterable of texts.
            model: Name or alias; ``default`` means the bundle's default model if nothing has that name.
            options: Options of :meth:`Embedding.encode`, which are those of sentence-transformers.

        Returns:
            float32 of shape (n, dimension) for n texts, also for n = 0; (dimension,) for one str.

        Warns:
            FallbackWarning: A model of another embedding space answers; once per name and space.

        Raises:
            InvalidInputError: An input is not a str (the message names its index), or an option is out of range.
            MemoryBudgetError: Models in use left no memory for this one within the deadline.
            ManagerClosedError: The manager was closed.
            ThothModelsError: The model cannot be loaded; see :func:`load_embedding`.
        """
        with self.use(model) as embedding:
            return embedding.encode(texts, **options)

    def encode_query(self, texts: str | Iterable[str], model: str = DEFAULT, **options: Any) -> FloatArray:  # noqa: ANN401
        """Return the vectors of search queries, with :meth:`Embedding.encode_query`; otherwise like :meth:`encode`."""
        with self.use(model) as embedding:
            return embedding.encode_query(texts, **options)

    def encode_document(self, texts: str | Iterable[str], model: str = DEFAULT, **options: Any) -> FloatArray:  # noqa: ANN401
        """Return the vectors of documents, with :meth:`Embedding.encode_document`; otherwise like :meth:`encode`."""
        with self.use(model) as embedding:
            return embedding.encode_document(texts, **options)

    async def aencode(
        self,
        texts: str | Iterable[str],
        model: str = DEFAULT,
        **options: Any,  # noqa: ANN401 - the options of Embedding.encode
    ) -> FloatArray:
        """Return what :meth:`encode` returns, without ever blocking the event loop.

        Cancelling does not stop a running call: its thread finishes it, and the result is dropped.
        """
        return await self.in_thread(functools.partial(self.encode, texts, model, **options))

    async def aencode_query(self, texts: str | Iterable[str], model: str = DEFAULT, **options: Any) -> FloatArray:  # noqa: ANN401
        """Return what :meth:`encode_query` returns, without blocking the event loop; see :meth:`aencode`."""
        return await self.in_thread(functools.partial(self.encode_query, texts, model, **options))

    async def aencode_document(self, texts: str | Iterable[str], model: str = DEFAULT, **options: Any) -> FloatArray:  # noqa: ANN401
        """Return what :meth:`encode_document` returns, without blocking the event loop; see :meth:`aencode`."""
        return await self.in_thread(functools.partial(self.encode_document, texts, model, **options))

    @contextlib.contextmanager
    def use(self, model: str = DEFAULT) -> Iterator[Embedding]:
        """Yield a loaded model, which stays loaded for the ``with`` block and cannot be used afterwards.

        Raises:
            ThothModelsError: The model cannot be loaded; see :meth:`encode`.
        """
        embedding, kept = self._resolver.take(model)
        try:
            yield embedding
        finally:
            kept.release()

    def get_model(self, name: str = DEFAULT) -> Embedding:
        """Return a loaded model, which stays loaded as long as the caller keeps the returned object.

        Raises:
            ThothModelsError: The model cannot be loaded; see :meth:`encode`.
        """
        return self._resolver.take(name)[0]

    async def aget_model(self, name: str = DEFAULT) -> Embedding:
        """Return what :meth:`get_model` returns, without blocking the event loop while the model is loaded."""
        return await self.in_thread(functools.partial(self.get_model, name))

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, called in one of the threads for asynchronous calls.

        The default executor of the event loop is not used, because it also resolves names, and loading may take long.

        Raises:
            ManagerClosedError: The manager was closed.
            EnvironmentFault: The first thread cannot be started.
        """
        return await asyncio.wrap_future(self._submit(function))

    def preload_models(self, names: Iterable[str]) -> dict[str, EmbeddingInfo]:
        """Load models one after the other, and return the ``info`` of each, by the given names.

        Raises:
            InvalidInputError: ``names`` is a single str.
            ThothModelsError: A model cannot be loaded; see :meth:`encode`. The remaining models are not loaded.
        """
        if isinstance(names, str):
            raise InvalidInputError(f"names: expected an iterable of names, found the one string {names!r}")
        found: dict[str, EmbeddingInfo] = {}
        for name in names:
            with self.use(name) as embedding:
                found[name] = embedding.info
        return found

    @classmethod
    def preload_common_models(cls, config: ManagerConfig | None = None) -> dict[str, EmbeddingInfo]:
        """Load ``config.common_models``, or every model of the bundle, into the manager of this process.

        Meant for the start of a service; raises the same errors as :meth:`preload_models`.
        """
        manager = cls.get_instance(config)
        names = manager.config.common_models
        return manager.preload_models(manager.names() if names is None else names)

    def names(self) -> list[str]:
        """Return the names of the bundle's models, the default model first."""
        manifest = self._resolver.manifest()
        built = [name for name, model in manifest.models.items() if model.built is not None]
        return sorted(built, key=lambda name: (name != manifest.default, name))

    def bundle_digest(self) -> str:
        """Return the sha256 of the bundle's manifest, 64 hexadecimal digits; opens the bundle.

        Raises:
            BundleError: The bundle cannot be opened.
            LoadTimeout: The deadline passed.
            ManagerClosedError: The manager was closed.
        """
        return self._resolver.bundle_digest()

    def is_loaded(self, name: str = DEFAULT) -> bool:
        """Return whether a call for ``name`` would be answered without loading a model.

        Raises:
            InvalidInputError: ``name`` is not a str.
            BundleError: The bundle cannot be opened.
        """
        return self._resolver.place(name) in {resident.key for resident in self._resolver.loaded.residents()}

    def unload(self, name: str | None = None) -> bool:
        """Evict a model, or all models, now; return False if one stayed because it is in use."""
        loaded = self._resolver.loaded
        if name is None:
            wanted = {resident.key for resident in loaded.residents()}
        else:
            place = self._resolver.place(name)
            wanted = set() if place is None else {place}
        for key in wanted:
            loaded.evict(key)
        return not wanted & {resident.key for resident in loaded.residents()}

    def stats(self) -> ManagerStats:
        """Return the statistics of this manager in this process."""
        resolver = self._resolver
        models = resolver.counters.snapshot()
        for resident in resolver.loaded.residents():
            model = resident.key.partition("/")[0]
            before = models.get(model, ModelStats())
            models[model] = replace(
                before, resident_bytes=before.resident_bytes + resident.size, uses=before.uses + resident.uses
            )
        return ManagerStats(models=models, memory_budget=resolver.budget, reserved_bytes=resolver.loaded.reserved)

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._is_closed

    def close(self) -> None:
        """Evict all models, those in use as soon as they are released, and refuse later calls."""
        with self._lock:
            self._is_closed = True
            threads, self._threads = self._threads, None
        self._resolver.close()
        if threads is not None:
            threads.close()

    def __enter__(self) -> EmbeddingManager:
        """Return the manager; the end of the ``with`` block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Return a reference for pickling: another process gets its own manager for the same settings.

        Raises:
            NotPicklableError: The manager was constructed directly, so it belongs to the code that closes it.
        """
        if not self._is_shared:
            raise NotPicklableError(
                "expected a manager of EmbeddingManager.get_instance, found one that was constructed directly and "
                "belongs to this process; pickle EmbeddingManager.get_instance(config), which becomes the manager of "
                "the other process for the same settings, or the config"
            )
        return _shared_manager, (self.config,)

    def _submit(self, function: Callable[[], T]) -> Future[T]:
        with self._lock:
            if self._is_closed:
                raise ManagerClosedError(CLOSED)
            if self._threads is None:
                self._threads = DaemonExecutor(self.config.async_threads, "thoth-models-encode")
            return self._threads.submit(function)

    def after_fork_in_child(self) -> None:
        """Create a new lock and executor; called by the hook of :mod:`thoth_models.process.fork`."""
        self._lock = threading.RLock()
        self._threads = None


def _shared_manager(config: ManagerConfig) -> EmbeddingManager:
    """Return the manager of this process for ``config``.

    A function of the module, because cloudpickle (Ray, Spark) refers by name to those alone. It would pickle a class
    method by value, with all that this module holds.
    """
    return EmbeddingManager.get_instance(config)


def _make_shared(config: ManagerConfig) -> EmbeddingManager:
    manager = EmbeddingManager(config)
    manager._is_shared = True  # noqa: SLF001 - not an argument: code that constructs a manager closes it as well
    return manager


_instances: Instances[ManagerConfig, EmbeddingManager] = Instances(_make_shared, lambda made: not made.is_closed)
