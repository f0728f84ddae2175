"""For LangChain: embeddings for its vector stores, retrievers and caches."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from thoth_models.adapters.serving import ServedModel, missing
from thoth_models.selection import DEFAULT

try:
    from langchain_core.embeddings import Embeddings
except ImportError as error:
    raise missing("LangChain", "langchain") from error

if TYPE_CHECKING:
    from thoth_models.config import ManagerConfig


@final
class ThothEmbeddings(Embeddings):
    """Vectors of a model of the bundle, as lists of floats.

    It holds a name and settings, and no model: the manager of the process has that, loaded at the first call. So it can
    be pickled, copied and taken across a fork, and several of them share what is loaded.

    Args:
        model: Name or alias; ``default`` is the bundle's default model where nothing is called that.
        config: Settings of the manager; None for the default ones. ``expect_spaces`` refuses every other space than the
            one that an index was made with.

    Raises:
        InvalidInputError: ``model`` is no str.
    """

    def __init__(self, model: str = DEFAULT, *, config: ManagerConfig | None = None) -> None:
        self._served = ServedModel(model, config)

    def __repr__(self) -> str:
        """Return the name of the model, and the settings where there are any."""
        return f"ThothEmbeddings({self._served.arguments})"

    def __eq__(self, other: object) -> bool:
        """Return whether the other one has the same model and settings."""
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
        """Identity of the embedding space of the model that answers, which it loads.

        What outlives the process needs it: as the namespace of ``CacheBackedEmbeddings``, and beside an index.

        Raises:
            ThothModelsError: The model cannot be loaded.
        """
        return self._served.info().space

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vector of each document, with the model's ``document`` prompt where it has one.

        Raises:
            InvalidInputError: An input is not a str; the message names its index.
            ThothModelsError: The model cannot be loaded.
        """
        return self._served.documents(texts)

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query, with the model's ``query`` prompt where it has one.

        Raises:
            InvalidInputError: It is not a str.
            ThothModelsError: The model cannot be loaded.
        """
        return self._served.query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return what :meth:`embed_documents` returns, without keeping the event loop from other work."""
        return await self._served.adocuments(texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Return what :meth:`embed_query` returns, without keeping the event loop from other work."""
        return await self._served.aquery(text)
