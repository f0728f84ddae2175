"""Haystack: components that embed a text, or documents, in a pipeline."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from thoth_models.adapters.serving import ServedModel, config_of, missing, settings_of
from thoth_models.bundle.selection import DEFAULT
from thoth_models.errors import InvalidInputError

try:
    # Imported at run time as well, because Haystack reads the annotations of run().
    from haystack import Document, component, default_from_dict, default_to_dict
except ImportError as error:
    raise missing("Haystack", "haystack") from error

if TYPE_CHECKING:
    from thoth_models.info import EmbeddingInfo
    from thoth_models.manager.config import ManagerConfig


class _Embedder:
    """What both components share."""

    def __init__(self, model: str, config: ManagerConfig | None, prefix: str, suffix: str) -> None:
        self.model = model
        self.config = config
        self.prefix = prefix
        self.suffix = suffix
        _ = self._served  # validates the arguments

    @property
    def _served(self) -> ServedModel:
        # Built from the attributes each time: they can be assigned to, and a serialised component has only them.
        return ServedModel(self.model, self.config)

    def warm_up(self) -> None:
        """Load the model; without this call, the first ``run`` loads it. Calling it again has no effect.

        Raises:
            ThothModelsError: The model cannot be loaded.
        """
        self._served.info()

    async def warm_up_async(self) -> None:
        """Do what :meth:`warm_up` does, without blocking the event loop."""
        await self._served.ainfo()

    def _get_telemetry_data(self) -> dict[str, Any]:
        """Return the telemetry data that Haystack may send: none."""
        return {}


@component
class ThothTextEmbedder(_Embedder):
    """Embed a text, such as a question, with a model of the bundle, using its ``query`` prompt if it has one.

    Args:
        model: Name or alias; ``default`` means the bundle's default model if nothing has that name.
        config: Settings of the manager; None for the defaults. Use ``expect_spaces`` to refuse every space except the
            one that the documents were embedded in.
        prefix: String to add before each text.
        suffix: String to add after each text.

    Raises:
        InvalidInputError: ``model`` is not a str.
    """

    def __init__(
        self, model: str = DEFAULT, config: ManagerConfig | None = None, prefix: str = "", suffix: str = ""
    ) -> None:
        # Not super(): Haystack's decorator replaces this class by another, and super() would refer to the wrong one.
        _Embedder.__init__(self, model, config, prefix, suffix)

    def to_dict(self) -> dict[str, Any]:
        """Return the component as plain values, for serialisation."""
        settings = settings_of(self.config)
        return default_to_dict(self, model=self.model, config=settings, prefix=self.prefix, suffix=self.suffix)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ThothTextEmbedder:
        """Return the component that :meth:`to_dict` serialised."""
        return default_from_dict(cls, _with_config(data))

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    def run(self, text: str) -> dict[str, Any]:
        """Embed a text.

        Returns:
            ``embedding``: a list of floats. ``meta``: the ``model``, ``variant`` and ``space`` of the vector.

        Raises:
            TypeError: ``text`` is not a str.
            ThothModelsError: The model cannot be loaded.
        """
        vector, info = self._served.query_with_info(self._prepared(text))
        return {"embedding": vector, "meta": _meta(info)}

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    async def run_async(self, text: str) -> dict[str, Any]:
        """Do what :meth:`run` does, without blocking the event loop."""
        return await self._served.in_thread(functools.partial(self.run, text))

    def _prepared(self, text: object) -> str:
        if not isinstance(text, str):
            raise TypeError(
                f"ThothTextEmbedder: expected a str as input, found {type(text).__name__}; "
                "use ThothDocumentEmbedder for documents"
            )
        return self.prefix + text + self.suffix


@component
class ThothDocumentEmbedder(_Embedder):
    """Embed documents with a model of the bundle, using its ``document`` prompt if it has one.

    Args:
        model: Name or alias; ``default`` means the bundle's default model if nothing has that name.
        config: Settings of the manager; None for the defaults. Use ``expect_spaces`` to refuse every space except the
            one that the documents in the store were embedded in.
        prefix: String to add before each text.
        suffix: String to add after each text.
        batch_size: Maximum number of texts that the model runs at once; None to let the backend choose.
        progress_bar: Show progress on standard error.
        meta_fields_to_embed: Fields of a document's ``meta`` that are embedded with it, before its content.
        embedding_separator: Separator between these fields and the content.

    Raises:
        InvalidInputError: ``model`` is not a str, or a setting is not valid.
    """

    def __init__(  # noqa: PLR0913 - the arguments of Haystack's own embedders
        self,
        model: str = DEFAULT,
        config: ManagerConfig | None = None,
        prefix: str = "",
        suffix: str = "",
        *,
        batch_size: int | None = None,
        progress_bar: bool = False,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
    ) -> None:
        _Embedder.__init__(self, model, config, prefix, suffix)
        size: object = batch_size
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise InvalidInputError(f"batch_size: expected an integer of at least 1 or None, found {batch_size!r}")
        if isinstance(meta_fields_to_embed, str):
            raise InvalidInputError(f"meta_fields_to_embed: expected a list of names, found {meta_fields_to_embed!r}")
        self.batch_size = batch_size
        self.progress_bar = progress_bar
        self.meta_fields_to_embed = list(meta_fields_to_embed or [])
        self.embedding_separator = embedding_separator

    def to_dict(self) -> dict[str, Any]:
        """Return the component as plain values, for serialisation."""
        return default_to_dict(
            self,
            model=self.model,
            config=settings_of(self.config),
            prefix=self.prefix,
            suffix=self.suffix,
            batch_size=self.batch_size,
            progress_bar=self.progress_bar,
            meta_fields_to_embed=self.meta_fields_to_embed,
            embedding_separator=self.embedding_separator,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ThothDocumentEmbedder:
        """Return the component that :meth:`to_dict` serialised."""
        return default_from_dict(cls, _with_config(data))

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Embed documents.

        Returns:
            ``documents``: copies of the input, in the same order, each with its ``embedding``. ``meta``: the ``model``,
            ``variant`` and ``space`` of the vectors.

        Raises:
            TypeError: ``documents`` is not a list of documents.
            ThothModelsError: The model cannot be loaded.
        """
        vectors, info = self._served.documents_with_info(
            self._texts(documents), batch_size=self.batch_size, show_progress_bar=self.progress_bar
        )
        made = [replace(document, embedding=vector) for document, vector in zip(documents, vectors, strict=True)]
        return {"documents": made, "meta": _meta(info)}

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """Do what :meth:`run` does, without blocking the event loop."""
        return await self._served.in_thread(functools.partial(self.run, documents))

    def _texts(self, documents: object) -> list[str]:
        wrong = (
            type(documents)
            if not isinstance(documents, list)
            else next((type(one) for one in documents if not isinstance(one, Document)), None)
        )
        if wrong is not None:
            raise TypeError(
                f"ThothDocumentEmbedder: expected a list of documents as input, found {wrong.__name__}; "
                "use ThothTextEmbedder for a str"
            )
        return [self._text(document) for document in documents]  # type: ignore[attr-defined] # checked above

    def _text(self, document: Document) -> str:
        given = (document.meta.get(field) for field in self.meta_fields_to_embed)
        fields = [str(value) for value in given if value is not None]
        return self.prefix + self.embedding_separator.join([*fields, document.content or ""]) + self.suffix


def _with_config(data: dict[str, Any]) -> dict[str, Any]:
    arguments = data.get("init_parameters", {})
    return {**data, "init_parameters": {**arguments, "config": config_of(arguments.get("config"))}}


def _meta(info: EmbeddingInfo) -> dict[str, Any]:
    return {"model": info.model, "variant": info.variant, "space": info.space}
