"""What a pickled :class:`Embedding` consists of, and how another process loads the model again from it.

The manager of the other process for the same settings loads it. So a worker that gets the same embedding with each of a
thousand tasks loads the model once, within its memory budget.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

from thoth_models.bundle.manifest import MANIFEST_NAME
from thoth_models.errors import Problem, SpaceMismatchError, VerificationError
from thoth_models.manager.config import ManagerConfig
from thoth_models.manager.manager import EmbeddingManager
from thoth_models.process.environment import bundle_root

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thoth_models.embedding import Embedding
    from thoth_models.info import EmbeddingInfo


@final
@dataclass(frozen=True, kw_only=True)
class EmbeddingReference:
    """What a pickled embedding consists of.

    It has no times of the process that pickles it, and no paths but a root that was given: the hash of an embedding
    (``joblib.hash``, Dask's tokens) should be the same in every process.

    Attributes:
        config: Settings of the manager that loads it.
        requested: Name as the caller gave it.
        model: Name of the model that answers.
        space: Identity of its embedding space.
        bundle_digest: sha256 of the bundle's manifest.
        fallback: Why another model than the requested one answers, or None.
    """

    config: ManagerConfig
    requested: str
    model: str
    space: str
    bundle_digest: str
    fallback: str | None

    def __str__(self) -> str:
        """Return the name of the model and the first digits of the space."""
        return f"{self.model}, space {self.space[:12]}"

    def load(self) -> Embedding:
        """Return the same model of the same bundle, loaded by the manager of this process.

        Raises:
            VerificationError: The bundle is another one.
            SpaceMismatchError: Only a model of another embedding space can answer.
            ThothModelsError: The model cannot be loaded; see :meth:`EmbeddingManager.encode`.
        """
        manager = EmbeddingManager.get_instance(self.config)
        # First, because another bundle may not have the model, and its models should not be loaded.
        digest = manager.bundle_digest()
        if digest != self.bundle_digest:
            problem = Problem(
                kind="changed",
                path=MANIFEST_NAME,
                expected=f"the bundle {self.bundle_digest}, from which {self.model!r} was loaded before it was pickled",
                found=f"the bundle {digest}; give both processes the same bundle, or load the model here by its name",
            )
            raise VerificationError(str(bundle_root(self.config.root)), [problem])
        embedding = manager.get_model(self.model)
        info = embedding.info
        if info.space != self.space:
            del embedding  # the error refers to this frame, and would keep the model in use
            raise SpaceMismatchError(
                f"{self.model!r} of the bundle {digest}: expected the embedding space {self.space} that it had before "
                f"it was pickled, found {info.space} of {info.model}/{info.variant} ({info.fallback})"
            )
        # A new object, made for this call.
        embedding._info = replace(info, requested=self.requested, fallback=self.fallback)  # noqa: SLF001
        return embedding


def refer(info: EmbeddingInfo, settings: Mapping[str, Any]) -> EmbeddingReference:
    """Return the reference to an embedding that a manager with these settings can load again."""
    return EmbeddingReference(
        config=ManagerConfig(**settings),
        requested=info.requested,
        model=info.model,
        space=info.space,
        bundle_digest=info.bundle_digest,
        fallback=info.fallback,
    )
