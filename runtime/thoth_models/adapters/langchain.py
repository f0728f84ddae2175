"""LangChain: ``Embeddings`` for its vector stores, retrievers and caches."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from thoth_models.adapters.serving import ServedModel, missing
from thoth_models.bundle.selection import DEFAULT

try:
    from langchain_core.embeddings import Embeddings
except ImportError as error:
    raise missing("LangChain", "langchain") from error

if TYPE_CHECKING:
    from thoth_models.manager.config import ManagerConfig


@final
class ThothEmbeddings(Embeddings):
    """A model of the bundle as LangChain's ``Embeddings``; vectors are lists of floats.

    An instance holds a name and settings; the manager of the process holds the model, which it loads at the first call.
    So an instance can be pickled, copied and used in a child of ``fork``, and several instances share one model.

    Args:
        model: Name or alias; ``default`` means the bundle's default model if nothing has that name.
        config: Settings of the manager; None for the defaults. Use ``expect_spaces`` to refuse every space except the
            one that an index was built with.

    Raises:
        InvalidInputError: ``model`` is not a str.
    """

    def __init__(self, model: str = DEFAULT, *, config: ManagerConfig | None = None) -> None:
        self._served = ServedModel(model, config)

    def __repr__(self) -> str:
        """Return the name of the model, and the settings if any were given."""
        return f"ThothEmbeddings({self._served.arguments})"

    def __eq__(self, other: object) -> bool:
        """Return whether ``other`` has the same model and settings."""
        return isinstance(other, ThothEmbeddings) and self._served == other._served

    def __hash__(self) -> int:
        """Return a hash of model and settings."""
        return hash(self._served)

    @property
    def model(self) -> str:
        """Name or alias of the model, as it was given."""
        return self._served.name

    @property
    def space(self) -> str:
        """Identity of the embedding space. Reading it loads the model.

        Keep it with everything that outlives the process: as the namespace of ``CacheBackedEmbeddings``, and beside an
        index.

        Raises:
            ThothModelsError: The model cannot be loaded.
        """
        return self._served.info().space

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vector of each document, using the model's ``document`` prompt if it has one.

        Raises:
            InvalidInputError: An input is not a str; the message names its index.
            ThothModelsError: The model cannot be loaded.
        """
        return self._served.documents(texts)

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query, using the model's ``query`` prompt if it has one.

        Raises:
            InvalidInputError: ``text`` is not a str.
            ThothModelsError: The model cannot be loaded.
        """
        return self._served.query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return what :meth:`embed_documents` returns, without blocking the event loop."""
        return await self._served.adocuments(texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Return what :meth:`embed_query` returns, without blocking the event loop."""
        return await self._served.aquery(text)
