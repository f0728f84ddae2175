"""``DockerModelManager`` and ``ModelCache``: faces of the manager of this process, under names that services use."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, final, overload

from thoth_models.compat.naming import NamedModel
from thoth_models.errors import ModelUnavailableError, SpaceMismatchError, UnknownModelError
from thoth_models.manager import EmbeddingManager
from thoth_models.selection import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thoth_models.config import ManagerConfig
    from thoth_models.embedding import Embedding
    from thoth_models.info import EmbeddingInfo

T = TypeVar("T")


@final
class DockerModelManager:
    """The manager of this process, for a service in a container. Each method may be called on the class."""

    @staticmethod
    def preload_common_models(config: ManagerConfig | None = None) -> dict[str, EmbeddingInfo]:
        """Load ``config.common_models``, or every model of the bundle, and return where each comes from.

        For the start of a service: the first model that cannot be loaded ends it.

        Raises:
            ThothModelsError: A model cannot be loaded; see :func:`load_embedding`.
        """
        return EmbeddingManager.preload_common_models(config)

    @staticmethod
    def get_model_with_fallback(model_name: str = DEFAULT, *, config: ManagerConfig | None = None) -> Embedding:
        """Return a model, loaded, or what models.yaml lets stand in for it; ``info`` says which, and what was tried.

        Nothing else stands in: another variant of the same model, or one of its ``alternates``. It stays loaded as long
        as the caller keeps what is returned.

        Warns:
            FallbackWarning: A model of another embedding space answers; once per name.

        Raises:
            UnknownModelError: The bundle has no model or alias of that name.
            ModelUnavailableError: Nothing that may answer could be loaded; carries each attempt.
            ThothModelsError: See :func:`load_embedding` for the others.
        """
        return EmbeddingManager.get_instance(config).get_model(model_name)


@final
class ModelCache:
    """The models that the manager of this process has loaded, like a dict by name. It keeps nothing of its own.

    ``cache[name]`` loads a model that is not there; ``cache.get(name)`` does not, as with ``collections.defaultdict``.

    Args:
        config: Settings of the manager; None for the default ones.
    """

    def __init__(self, config: ManagerConfig | None = None) -> None:
        self._config = config

    @property
    def manager(self) -> EmbeddingManager:
        """The manager whose models these are."""
        return EmbeddingManager.get_instance(self._config)

    def __getitem__(self, name: str) -> Embedding:
        """Return a model, loaded.

        Raises:
            ThothModelsError: It cannot be loaded; see :func:`load_embedding`.
        """
        return self.manager.get_model(name)

    @overload
    def get(self, name: str) -> Embedding | None: ...
    @overload
    def get(self, name: str, default: T) -> Embedding | T: ...
    def get(self, name: str, default: T | None = None) -> Embedding | T | None:
        """Return a model if it is loaded, else ``default``."""
        return self.manager.get_model(name) if self.contains(name) else default

    def contains(self, name: object) -> bool:
        """Return whether the model that the bundle has for a name or alias is loaded; False for an unknown name.

        Raises:
            BundleNotFoundError: There is no bundle.
            BundleError: Its manifest cannot be used.
        """
        if not isinstance(name, str):
            return False
        try:
            model, _ = NamedModel(name, self._config).answering()
        except (UnknownModelError, ModelUnavailableError, SpaceMismatchError):
            return False
        stats = self.manager.stats().models.get(model.name)
        return stats is not None and stats.resident_bytes > 0

    def __contains__(self, name: object) -> bool:
        """Return whether a model of that name or alias is loaded."""
        return self.contains(name)

    def __iter__(self) -> Iterator[str]:
        """Go through the names of the models that are loaded."""
        stats = self.manager.stats().models
        return iter([name for name, model in stats.items() if model.resident_bytes > 0])

    def size(self) -> int:
        """Return how many models are loaded; two variants of one count once."""
        return sum(model.resident_bytes > 0 for model in self.manager.stats().models.values())

    def __len__(self) -> int:
        """Return how many models are loaded; two variants of one count once."""
        return self.size()

    def clear(self) -> None:
        """Give up all models that nobody uses; those in use stay until the end of their use."""
        self.manager.unload()
