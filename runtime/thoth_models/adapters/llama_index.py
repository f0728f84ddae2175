"""For LlamaIndex: an embedding model for its indexes, retrievers and pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thoth_models.adapters.serving import ServedModel, config_of, missing, settings_of
from thoth_models.errors import InvalidInputError
from thoth_models.selection import DEFAULT

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field
except ImportError as error:
    raise missing("LlamaIndex", "llama-index") from error

if TYPE_CHECKING:
    from thoth_models.config import ManagerConfig

_BATCH_SIZE = 256
"""Texts that LlamaIndex hands over at once. Its own default of 10 is for services that are paid by the call."""


class ThothEmbedding(BaseEmbedding):
    """Vectors of a model of the bundle, as lists of floats.

    It holds a name and settings, and no model: the manager of the process has that, loaded at the first call. So it can
    be pickled, copied and taken across a fork, and several of them share what is loaded.

    Args:
        model_name: Name or alias; ``default`` is the bundle's default model where nothing is called that.
        config: Settings of the manager; None for the default ones. ``expect_spaces`` refuses every other space than the
            one that an index was made with.
        embed_batch_size: Texts that LlamaIndex hands over at once, at most 2048.
        others: Those of LlamaIndex's ``BaseEmbedding``.

    Raises:
        InvalidInputError: ``model_name`` is no str, a setting cannot be used, or there is no argument of that name.
    """

    settings: dict[str, Any] = Field(
        default_factory=dict, description="Settings of the manager that are not the default ones."
    )

    def __init__(
        self,
        model_name: str = DEFAULT,
        *,
        config: ManagerConfig | None = None,
        embed_batch_size: int = _BATCH_SIZE,
        **others: Any,  # noqa: ANN401 - LlamaIndex's own
    ) -> None:
        # LlamaIndex itself drops what it does not know, a misspelt config with its expect_spaces as well. What it made
        # of one with to_dict() has its name for the class.
        if unknown := sorted(others.keys() - type(self).model_fields.keys() - {"class_name"}):
            hint = "; the model is called model_name here" if "model" in unknown else ""
            raise InvalidInputError(f"expected arguments of ThothEmbedding, found {', '.join(unknown)}{hint}")
        # And the settings as plain values.
        given = others.pop("settings", None)
        served = ServedModel(model_name, config_of(given) if config is None else config)
        others["settings"] = settings_of(served.config)
        super().__init__(model_name=served.name, embed_batch_size=embed_batch_size, **others)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex writes down with it."""
        return "ThothEmbedding"

    @property
    def space(self) -> str:
        """Identity of the embedding space of the model that answers, which it loads.

        Raises:
            ThothModelsError: The model cannot be loaded.
        """
        return self._served.info().space

    @property
    def _served(self) -> ServedModel:
        # From the fields each time: they can be assigned to, and are all that is copied and written down.
        return ServedModel(self.model_name, config_of(self.settings))

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._served.query(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._served.documents([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._served.documents(texts)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await self._served.aquery(query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._served.adocuments([text]))[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await self._served.adocuments(texts)
