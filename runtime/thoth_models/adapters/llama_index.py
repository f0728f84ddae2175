"""LlamaIndex: an embedding model for its indexes, retrievers and pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thoth_models.adapters.serving import ServedModel, config_of, missing, settings_of
from thoth_models.bundle.selection import DEFAULT
from thoth_models.errors import InvalidInputError

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field
except ImportError as error:
    raise missing("LlamaIndex", "llama-index") from error

if TYPE_CHECKING:
    from thoth_models.manager.config import ManagerConfig

_BATCH_SIZE = 256
"""How many texts LlamaIndex passes in one call. Its own default of 10 suits hosted services that bill each call."""


class ThothEmbedding(BaseEmbedding):
    """A model of the bundle as LlamaIndex's ``BaseEmbedding``; vectors are lists of floats.

    An instance holds a name and settings; the manager of the process holds the model, which it loads at the first call.
    So an instance can be pickled, copied and used in a child of ``fork``, and several instances share one model.

    Args:
        model_name: Name or alias; ``default`` means the bundle's default model if nothing has that name.
        config: Settings of the manager; None for the defaults. Use ``expect_spaces`` to refuse every space except the
            one that an index was built with.
        embed_batch_size: How many texts LlamaIndex passes in one call, at most 2048.
        others: Arguments of LlamaIndex's ``BaseEmbedding``.

    Raises:
        InvalidInputError: ``model_name`` is not a str, a setting is not valid, or an argument is unknown.
    """

    settings: dict[str, Any] = Field(
        default_factory=dict, description="Settings of the manager that differ from the defaults."
    )

    def __init__(
        self,
        model_name: str = DEFAULT,
        *,
        config: ManagerConfig | None = None,
        embed_batch_size: int = _BATCH_SIZE,
        **others: Any,  # noqa: ANN401 - LlamaIndex's own
    ) -> None:
        # LlamaIndex silently drops unknown arguments, and would drop a misspelt `config` and its expect_spaces with it.
        # to_dict() adds `class_name`, so from_dict() passes it here.
        if unknown := sorted(others.keys() - type(self).model_fields.keys() - {"class_name"}):
            hint = "; use model_name for the model" if "model" in unknown else ""
            raise InvalidInputError(f"expected arguments of ThothEmbedding, found {', '.join(unknown)}{hint}")
        # to_dict() also has the settings, as plain values.
        given = others.pop("settings", None)
        served = ServedModel(model_name, config_of(given) if config is None else config)
        others["settings"] = settings_of(served.config)
        super().__init__(model_name=served.name, embed_batch_size=embed_batch_size, **others)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises this class."""
        return "ThothEmbedding"

    @property
    def space(self) -> str:
        """Identity of the embedding space. Reading it loads the model.

        Raises:
            ThothModelsError: The model cannot be loaded.
        """
        return self._served.info().space

    @property
    def _served(self) -> ServedModel:
        # Built from the fields each time: they can be assigned to, and copies and serialised forms have only them.
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
