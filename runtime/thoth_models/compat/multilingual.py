"""``MultilingualEmbeddingManager`` of thoth-vdbmanager 0.5 and 0.6, over the local bundle."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from thoth_models.bundle.selection import DEFAULT
from thoth_models.compat.environment_detector import EnvironmentDetector
from thoth_models.compat.haystack import component
from thoth_models.compat.named_model import (
    NamedModel,
    answering,
    contents_of,
    documents_with,
    is_multilingual,
    listed_documents,
    query_text,
)
from thoth_models.errors import InvalidInputError, ModelUnavailableError, SpaceMismatchError, ThothModelsError
from thoth_models.process.environment import bundle_root
from thoth_models.references import SharedObject

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from thoth_models.bundle.manifest import Model
    from thoth_models.embedding import Embedding
    from thoth_models.info import EmbeddingInfo
    from thoth_models.manager.config import ManagerConfig

_log = logging.getLogger(__name__)


class EmbeddingInitializationError(ThothModelsError):
    """The model cannot be loaded. The message has the reason, and ``__cause__`` is the original error."""


class MultilingualEmbeddingManager(SharedObject):
    """One model by its old name. Threads and children of fork may share it.

    The same arguments give the same object. The manager of this process holds the model, and loads it at the first
    call.

    Args:
        model_name: Name or alias. ``default``, ``large``, ``fast`` and ``legacy`` are ordinary names that models.yaml
            has to declare. ``default`` means the bundle's default model if nothing has that name.
        cache_dir: Has no effect, because models come from the bundle and nothing is written. In the original, the
            directory for downloads. Any value except None is logged.
        config: Settings of the manager; None for the defaults.

    Attributes:
        model_key: The name that was given.
        preload_errors: Why :meth:`preload_model` returned False, by name of the model.

    Raises:
        InvalidInputError: ``model_name`` is not a str.
    """

    preload_errors: ClassVar[dict[str, ThothModelsError]] = {}
    _instances: ClassVar[dict[tuple[object, ...], MultilingualEmbeddingManager]] = {}

    def __new__(  # noqa: PYI034 - the type of a value in a dict cannot depend on its key
        cls,
        model_name: str = DEFAULT,
        cache_dir: str | os.PathLike[str] | None = None,
        *,
        config: ManagerConfig | None = None,
    ) -> MultilingualEmbeddingManager:
        """Return the object for these arguments; the first call creates it."""
        if not isinstance(model_name, str):
            raise InvalidInputError(f"model_name: expected a str, found {type(model_name).__name__}")
        # setdefault is atomic: two threads get the same object.
        return cls._instances.setdefault((cls, model_name, cache_dir, config), super().__new__(cls))

    def __init__(
        self,
        model_name: str = DEFAULT,
        cache_dir: str | os.PathLike[str] | None = None,
        *,
        config: ManagerConfig | None = None,
    ) -> None:
        if hasattr(self, "_model"):
            return
        self._arguments = model_name, cache_dir, config
        self.model_key = model_name
        self._model = NamedModel(model_name, config)
        if cache_dir is not None:
            _log.warning("cache_dir=%s is not used: models come from the bundle at %s", cache_dir, self.cache_dir)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the arguments for pickling: another process has its own object for them."""
        return _with_arguments, (type(self), *self._arguments)

    def __repr__(self) -> str:
        """Return the class and the name of the model."""
        return f"<MultilingualEmbeddingManager {self.model_key}>"

    @property
    def model_name(self) -> str:
        """Name of the model that answers, as in the bundle.

        Raises:
            EmbeddingInitializationError: No model of the bundle can answer, or there is no bundle.
        """
        return self._answering()[0].name

    @property
    def cache_dir(self) -> str:
        """The bundle directory, where models come from."""
        return str(bundle_root(self._model.config.root))

    @property
    def info(self) -> EmbeddingInfo | None:
        """Where the model comes from; None before it is loaded. ``fallback`` is set if the name meant another model."""
        return self._model.info

    def encode_documents(self, documents: Iterable[Any]) -> list[Any]:
        """Set ``embedding`` of each of Haystack's documents, a list of floats, and return the same documents.

        Warns:
            FallbackWarning: A model of another embedding space answers, or one that the old name did not mean.

        Raises:
            InvalidInputError: An item is not a document; the message has its index.
            EmbeddingInitializationError: The model cannot be loaded.
        """
        listed = listed_documents(documents)
        texts = contents_of(listed)
        if not texts:
            return []
        with self._use() as embedding:
            return documents_with(listed, embedding.encode_document(texts).tolist())

    def encode_query(self, query: str) -> list[float]:
        """Return the vector of a query. Leading and trailing whitespace is removed first.

        Warns:
            FallbackWarning: A model of another embedding space answers, or one that the old name did not mean.

        Raises:
            InvalidInputError: ``query`` is not a str, or empty. (This is a ``ValueError``, as in the original.)
            EmbeddingInitializationError: The model cannot be loaded.
        """
        text = query_text(query)
        with self._use() as embedding:
            vector: list[float] = embedding.encode_query(text).tolist()
            return vector

    def get_document_embedder(self) -> Any:  # noqa: ANN401 - Haystack need not be installed
        """Return a Haystack component that embeds documents with this model; the model is loaded.

        Raises:
            BackendUnavailableError: Haystack is not installed.
            EmbeddingInitializationError: The model cannot be loaded.
        """
        return self._component("document")

    def get_text_embedder(self) -> Any:  # noqa: ANN401 - Haystack need not be installed
        """Return a Haystack component that embeds a text with this model; the model is loaded.

        Raises:
            BackendUnavailableError: Haystack is not installed.
            EmbeddingInitializationError: The model cannot be loaded.
        """
        return self._component("text")

    def get_model_info(self) -> dict[str, Any]:
        """Return facts about the model, without loading it.

        Returns:
            The keys of thoth-vdbmanager: ``model_name`` (of the model that answers), ``model_key`` (the name that was
            given), ``cache_dir`` (the bundle directory), ``is_docker``, ``initialized`` (whether it was loaded),
            ``supports_multilingual`` (whether a name of the model contains "multilingual", which is all that a bundle
            says about languages), ``embedding_dimension``; and ``space`` and ``fallback``, as in
            :class:`EmbeddingInfo`.

        Raises:
            EmbeddingInitializationError: No model of the bundle can answer, or there is no bundle.
        """
        model, fallback = self._answering()
        assert model.built is not None  # noqa: S101 - it answers
        return {
            "model_name": model.name,
            "model_key": self.model_key,
            "cache_dir": self.cache_dir,
            "is_docker": EnvironmentDetector.is_docker(),
            "initialized": self.info is not None,
            "supports_multilingual": is_multilingual(model),
            "embedding_dimension": model.dimension,
            "space": model.built.space.hex,
            "fallback": fallback,
        }

    @classmethod
    def get_available_models(cls, *, config: ManagerConfig | None = None) -> dict[str, str]:
        """Return the names and aliases that the bundle can answer, each with the name of the model that answers.

        Raises:
            BundleNotFoundError: The bundle does not exist.
            BundleError: The manifest of the bundle is not valid.
        """
        default = NamedModel(DEFAULT, config)
        manifest = default.manifest()
        names = list(manifest.names())
        if DEFAULT not in names and manifest.default is not None:
            names.insert(0, DEFAULT)
        found: dict[str, str] = {}
        for name in names:
            with contextlib.suppress(SpaceMismatchError, ModelUnavailableError):
                found[name] = answering(manifest, name, default.config)[0].name
        return found

    @classmethod
    def preload_model(
        cls,
        model_name: str = DEFAULT,
        cache_dir: str | os.PathLike[str] | None = None,
        *,
        config: ManagerConfig | None = None,
    ) -> bool:
        """Load a model, and return whether that succeeded.

        The reason for a failure is logged, and stored in :attr:`preload_errors`. At the start of a service, prefer
        ``EmbeddingManager.preload_models``, which raises.
        """
        try:
            with cls(model_name, cache_dir, config=config)._use():  # noqa: SLF001 - the same class
                pass
        except ThothModelsError as error:
            cls.preload_errors[str(model_name)] = error
            _log.warning("preload_model(%r) failed: %s", model_name, error)
            return False
        cls.preload_errors.pop(model_name, None)
        return True

    @classmethod
    def clear_cache(cls) -> None:
        """Drop the objects that the constructor would return again, and unload the models that are not in use."""
        instances = list(cls._instances.values())
        cls._instances.clear()
        for manager in {id(instance._model.manager): instance._model.manager for instance in instances}.values():  # noqa: SLF001
            manager.unload()

    @contextlib.contextmanager
    def _use(self) -> Iterator[Embedding]:
        with contextlib.ExitStack() as stack:
            try:
                embedding = stack.enter_context(self._model.use())
            except ThothModelsError as error:
                raise _not_loaded(self.model_key, error) from error
            yield embedding

    def _answering(self) -> tuple[Model, str | None]:
        """Return the model that answers, or would, and why it is another one than the name meant."""
        try:
            return self._model.answering()
        except ThothModelsError as error:
            raise _not_loaded(self.model_key, error) from error

    def _component(self, kind: Literal["document", "text"]) -> Any:  # noqa: ANN401
        with self._use():
            pass
        return component(kind, self.model_key, self._model.config)


def get_multilingual_embedding_manager(
    model_name: str = DEFAULT,
    cache_dir: str | os.PathLike[str] | None = None,
    *,
    config: ManagerConfig | None = None,
) -> MultilingualEmbeddingManager:
    """Return the :class:`MultilingualEmbeddingManager` for these arguments."""
    return MultilingualEmbeddingManager(model_name, cache_dir, config=config)


def _with_arguments(
    kind: type[MultilingualEmbeddingManager],
    model_name: str,
    cache_dir: str | os.PathLike[str] | None,
    config: ManagerConfig | None,
) -> MultilingualEmbeddingManager:
    return kind(model_name, cache_dir, config=config)


def _not_loaded(name: str, error: ThothModelsError) -> EmbeddingInitializationError:
    return EmbeddingInitializationError(f"no model could be loaded for {name!r}: {error}")
