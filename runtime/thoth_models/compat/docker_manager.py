"""``DockerModelManager`` and ``ModelCache``: the manager of this process, under names that services use."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, final, overload

from thoth_models.bundle.selection import DEFAULT
from thoth_models.compat.named_model import NamedModel
from thoth_models.errors import ModelUnavailableError, SpaceMismatchError, UnknownModelError
from thoth_models.manager.manager import EmbeddingManager

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thoth_models.embedding import Embedding
    from thoth_models.info import EmbeddingInfo
    from thoth_models.manager.config import ManagerConfig

T = TypeVar("T")


@final
class DockerModelManager:
    """The manager of this process, for a service in a container. All methods are static."""

    @staticmethod
    def preload_common_models(config: ManagerConfig | None = None) -> dict[str, EmbeddingInfo]:
        """Load ``config.common_models``, or every model of the bundle, and return the ``info`` of each.

        Meant for the start of a service: it stops at the first model that cannot be loaded.

        Raises:
            ThothModelsError: A model cannot be loaded; see :func:`load_embedding`.
        """
        return EmbeddingManager.preload_common_models(config)

    @staticmethod
    def get_model_with_fallback(model_name: str = DEFAULT, *, config: ManagerConfig | None = None) -> Embedding:
        """Load and return a model, or the fallback that models.yaml allows; ``info`` has which one and each attempt.

        A fallback is another variant of the same model, or one of its ``alternates``. The model stays loaded as long as
        the caller keeps the returned object.

        Warns:
            FallbackWarning: A model of another embedding space answers; once per name.

        Raises:
            UnknownModelError: The bundle has no model or alias of that name.
            ModelUnavailableError: Neither the model nor a fallback could be loaded; has each attempt.
            ThothModelsError: See :func:`load_embedding` for other errors.
        """
        return EmbeddingManager.get_instance(config).get_model(model_name)


@final
class ModelCache:
    """The models that the manager of this process has loaded, as a mapping by name. It stores nothing itself.

    ``cache[name]`` loads a missing model; ``cache.get(name)`` does not, as with ``collections.defaultdict``.

    Args:
        config: Settings of the manager; None for the defaults.
    """

    def __init__(self, config: ManagerConfig | None = None) -> None:
        self._config = config

    @property
    def manager(self) -> EmbeddingManager:
        """The manager that holds the models."""
        return EmbeddingManager.get_instance(self._config)

    def __getitem__(self, name: str) -> Embedding:
        """Return a model; load it if necessary.

        Raises:
            ThothModelsError: The model cannot be loaded; see :func:`load_embedding`.
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
        """Return whether the model for a name or alias is loaded; False for an unknown name.

        Raises:
            BundleNotFoundError: The bundle does not exist.
            BundleError: The manifest of the bundle is not valid.
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
        """Return whether the model for a name or alias is loaded."""
        return self.contains(name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the loaded models."""
        stats = self.manager.stats().models
        return iter([name for name, model in stats.items() if model.resident_bytes > 0])

    def size(self) -> int:
        """Return how many models are loaded; two variants of one model count once."""
        return sum(model.resident_bytes > 0 for model in self.manager.stats().models.values())

    def __len__(self) -> int:
        """Return how many models are loaded; two variants of one model count once."""
        return self.size()

    def clear(self) -> None:
        """Unload all models that are not in use; those in use stay loaded until they are released."""
        self.manager.unload()
