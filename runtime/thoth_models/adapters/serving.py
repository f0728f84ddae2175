"""What the framework adapters share: a model by its name, and its vectors as lists of floats."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from thoth_models.bundle.selection import DEFAULT
from thoth_models.errors import BackendUnavailableError, InvalidInputError
from thoth_models.manager.config import ManagerConfig
from thoth_models.manager.manager import EmbeddingManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from thoth_models.info import EmbeddingInfo

T = TypeVar("T")


def missing(framework: str, extra: str) -> BackendUnavailableError:
    """Return the error for a framework that is not installed."""
    return BackendUnavailableError(f"{framework} is not installed: install thoth-models[{extra}]")


@dataclass(frozen=True)
class ServedModel:
    """A model of the bundle, served by the manager of the process. It is loaded at the first call.

    Attributes:
        name: Name or alias; ``default`` means the bundle's default model if nothing has that name.
        config: Settings of the manager; None for the defaults.

    Raises:
        InvalidInputError: ``name`` is not a str.
    """

    name: str = DEFAULT
    config: ManagerConfig | None = None

    def __post_init__(self) -> None:
        """Validate eagerly, so that an error names the line that passed the wrong value."""
        given: object = self.name
        if not isinstance(given, str):
            raise InvalidInputError(f"model: expected a name, found {type(given).__name__}")
        settings: object = self.config
        if settings is not None and not isinstance(settings, ManagerConfig):
            raise InvalidInputError(f"config: expected a ManagerConfig or None, found {type(settings).__name__}")

    @property
    def manager(self) -> EmbeddingManager:
        """The manager of this process for these settings."""
        return EmbeddingManager.get_instance(self.config)

    @property
    def arguments(self) -> str:
        """The arguments as source code, for ``repr``."""
        return repr(self.name) + ("" if self.config is None else f", config={self.config!r}")

    def info(self) -> EmbeddingInfo:
        """Load the model, and return which model and variant answers."""
        with self.manager.use(self.name) as embedding:
            return embedding.info

    async def ainfo(self) -> EmbeddingInfo:
        """Return what :meth:`info` returns, without blocking the event loop while the model is loaded."""
        return await self.in_thread(self.info)

    def documents(self, texts: Iterable[str]) -> list[list[float]]:
        """Return the vector of each document."""
        return self.documents_with_info(texts)[0]

    def query(self, text: str) -> list[float]:
        """Return the vector of a query."""
        return self.query_with_info(text)[0]

    async def adocuments(self, texts: Iterable[str]) -> list[list[float]]:
        """Return the vector of each document, without blocking the event loop."""
        return await self.in_thread(functools.partial(self.documents, texts))

    async def aquery(self, text: str) -> list[float]:
        """Return the vector of a query, without blocking the event loop."""
        return await self.in_thread(functools.partial(self.query, text))

    def documents_with_info(
        self,
        texts: Iterable[str],
        **options: Any,  # noqa: ANN401 - those of Embedding.encode
    ) -> tuple[list[list[float]], EmbeddingInfo]:
        """Return the vector of each document, and which model and variant computed them."""
        given = _several(texts)
        # One lease for both: between two calls of the manager, another model may have become the fallback.
        with self.manager.use(self.name) as embedding:
            vectors: list[list[float]] = embedding.encode_document(given, **options).tolist()
            return vectors, embedding.info

    def query_with_info(self, text: str) -> tuple[list[float], EmbeddingInfo]:
        """Return the vector of a query, and which model and variant computed it."""
        given = _one(text)
        with self.manager.use(self.name) as embedding:
            vector: list[float] = embedding.encode_query(given).tolist()
            return vector, embedding.info

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, called in one of the manager's threads.

        Run the whole call there: converting an array to a hundred thousand floats would block the event loop too.
        """
        return await self.manager.in_thread(function)


def settings_of(config: ManagerConfig | None) -> dict[str, Any]:
    """Return the settings that differ from the defaults, as JSON values; :func:`config_of` reads them back."""
    return {} if config is None else {name: _plain(value) for name, value in config.changed().items()}


def config_of(settings: Mapping[str, Any] | None) -> ManagerConfig | None:
    """Return the configuration that :func:`settings_of` wrote; None for the defaults.

    Raises:
        InvalidInputError: A setting is unknown, or its value is not valid.
    """
    if not settings:
        return None
    known = {setting.name for setting in fields(ManagerConfig)}
    if unknown := sorted(set(settings) - known):
        raise InvalidInputError(f"config: expected settings of a manager, found {', '.join(map(repr, unknown))}")
    return ManagerConfig(**settings)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any setting
    return list(value) if isinstance(value, tuple) else value


def _one(text: object) -> str:
    if not isinstance(text, str):
        raise InvalidInputError(f"text: expected a str, found {type(text).__name__}")
    return text


def _several(texts: object) -> Any:  # noqa: ANN401 - each item is checked when it is encoded
    if isinstance(texts, str):
        raise InvalidInputError("texts: expected a list of texts, found a str")
    return texts
