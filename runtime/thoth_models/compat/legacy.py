"""``LegacyEmbeddingAdapter``, for code that created its own ``SentenceTransformer``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from thoth_models.bundle.selection import DEFAULT
from thoth_models.compat.named_model import NamedModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike

    from thoth_models.info import EmbeddingInfo
    from thoth_models.manager.config import ManagerConfig
    from thoth_models.types import FloatArray


@final
class LegacyEmbeddingAdapter:
    """A model by its old name, with the methods of ``SentenceTransformer`` that services call. Threads may share it.

    The manager of this process holds the model, and loads it at the first call.

    Args:
        model_name: Name or alias; ``default`` means the bundle's default model if nothing has that name.
        config: Settings of the manager; None for the defaults.

    Raises:
        InvalidInputError: ``model_name`` is not a str.
    """

    def __init__(self, model_name: str = DEFAULT, *, config: ManagerConfig | None = None) -> None:
        self._model = NamedModel(model_name, config)

    def __repr__(self) -> str:
        """Return the class and the name of the model."""
        return f"<LegacyEmbeddingAdapter {self._model.name}>"

    def encode(self, sentences: str | Iterable[str], **options: Any) -> FloatArray:  # noqa: ANN401
        """Return the vectors of ``sentences``.

        Args:
            sentences: One text, or any iterable of texts.
            options: Options of :meth:`Embedding.encode`.

        Returns:
            float32 of shape (n, dimension) for n texts, also for n = 0; (dimension,) for one str.

        Warns:
            FallbackWarning: A model of another embedding space answers, or one that the old name did not mean.

        Raises:
            InvalidInputError: An input is not a str (the message has its index), or an option is not supported.
            UnknownModelError: The bundle has no model or alias of that name.
            ThothModelsError: The model cannot be loaded; see :func:`load_embedding`.
        """
        with self._model.use() as embedding:
            return embedding.encode(sentences, **options)

    def encode_query(self, sentences: str | Iterable[str], **options: Any) -> FloatArray:  # noqa: ANN401
        """Return the vectors of search queries: :meth:`encode` with the model's ``query`` prompt, if it has one."""
        with self._model.use() as embedding:
            return embedding.encode_query(sentences, **options)

    def encode_document(self, sentences: str | Iterable[str], **options: Any) -> FloatArray:  # noqa: ANN401
        """Return the vectors of documents: :meth:`encode` with the model's ``document`` prompt, if it has one."""
        with self._model.use() as embedding:
            return embedding.encode_document(sentences, **options)

    def similarity(self, first: ArrayLike, second: ArrayLike) -> FloatArray:
        """Return the similarity of each vector of ``first`` to each of ``second``; see :meth:`Embedding.similarity`."""
        with self._model.use() as embedding:
            return embedding.similarity(first, second)

    def get_sentence_embedding_dimension(self) -> int:
        """Return the length of a vector."""
        with self._model.use() as embedding:
            return embedding.dimension

    def get_embedding_dimension(self) -> int:
        """Return the length of a vector; the newer name of :meth:`get_sentence_embedding_dimension`."""
        return self.get_sentence_embedding_dimension()

    @property
    def max_seq_length(self) -> int | None:
        """Longest input in tokens; longer ones are truncated. None for no limit."""
        with self._model.use() as embedding:
            return embedding.max_seq_length

    @property
    def info(self) -> EmbeddingInfo:
        """Where the model comes from, which loads it; ``fallback`` is set if the name meant another model."""
        with self._model.use():
            pass
        assert self._model.info is not None  # noqa: S101 - the model was loaded just now
        return self._model.info
