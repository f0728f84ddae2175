"""``LegacyEmbeddingAdapter``: what code calls that had a ``SentenceTransformer`` of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from thoth_models.compat.naming import NamedModel
from thoth_models.selection import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike

    from thoth_models.config import ManagerConfig
    from thoth_models.embedding import FloatArray
    from thoth_models.info import EmbeddingInfo


@final
class LegacyEmbeddingAdapter:
    """A model by its old name, with the methods of ``SentenceTransformer`` that services call. Threads may share it.

    The manager of this process has the model; it is loaded at the first call.

    Args:
        model_name: Name or alias; ``default`` is the bundle's default model where nothing is called that.
        config: Settings of the manager; None for the default ones.

    Raises:
        InvalidInputError: ``model_name`` is no str.
    """

    def __init__(self, model_name: str = DEFAULT, *, config: ManagerConfig | None = None) -> None:
        self._model = NamedModel(model_name, config)

    def __repr__(self) -> str:
        """Return the name."""
        return f"<LegacyEmbeddingAdapter {self._model.name}>"

    def encode(self, sentences: str | Iterable[str], **options: Any) -> FloatArray:  # noqa: ANN401
        """Return the vectors of ``sentences``.

        Args:
            sentences: One text, or any iterable of texts.
            options: Those of :meth:`Embedding.encode`.

        Returns:
            float32 of shape (n, dimension) for n texts, also for n = 0; (dimension,) for one str.

        Warns:
            FallbackWarning: A model of another embedding space answers, or one that the old name did not mean.

        Raises:
            InvalidInputError: An input is not a str (the message names its index), or an option cannot be met.
            UnknownModelError: The bundle has no model or alias of that name.
            ThothModelsError: The model cannot be loaded; see :func:`load_embedding`.
        """
        with self._model.use() as embedding:
            return embedding.encode(sentences, **options)

    def encode_query(self, sentences: str | Iterable[str], **options: Any) -> FloatArray:  # noqa: ANN401
        """Return the vectors of search queries: :meth:`encode` with the model's ``query`` prompt, where it has one."""
        with self._model.use() as embedding:
            return embedding.encode_query(sentences, **options)

    def encode_document(self, sentences: str | Iterable[str], **options: Any) -> FloatArray:  # noqa: ANN401
        """Return the vectors of documents: :meth:`encode` with the model's ``document`` prompt, where it has one."""
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
        """Return the length of a vector: the same by its newer name."""
        return self.get_sentence_embedding_dimension()

    @property
    def max_seq_length(self) -> int | None:
        """Longest input in tokens, longer ones are cut; None where there is no limit."""
        with self._model.use() as embedding:
            return embedding.max_seq_length

    @property
    def info(self) -> EmbeddingInfo:
        """Where the model that answers comes from; ``fallback`` says why it is not the one that the name meant."""
        with self._model.use():
            pass
        assert self._model.info is not None  # noqa: S101 - the model was loaded just now
        return self._model.info
