"""For Haystack: components that embed a text, or documents, in a pipeline."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from thoth_models.adapters.serving import ServedModel, config_of, missing, settings_of
from thoth_models.errors import InvalidInputError
from thoth_models.selection import DEFAULT

try:
    # By this name at run time as well: Haystack reads the annotations of run().
    from haystack import Document, component, default_from_dict, default_to_dict
except ImportError as error:
    raise missing("Haystack", "haystack") from error

if TYPE_CHECKING:
    from thoth_models.config import ManagerConfig
    from thoth_models.info import EmbeddingInfo


class _Embedder:
    """What both components have in common."""

    def __init__(self, model: str, config: ManagerConfig | None, prefix: str, suffix: str) -> None:
        self.model = model
        self.config = config
        self.prefix = prefix
        self.suffix = suffix
        _ = self._served  # which looks at the arguments

    @property
    def _served(self) -> ServedModel:
        # From the attributes each time: they are all that a component is written down as, and can be assigned to.
        return ServedModel(self.model, self.config)

    def warm_up(self) -> None:
        """Load the model, which the first ``run`` does otherwise. A second call finds it there.

        Raises:
            ThothModelsError: The model cannot be loaded.
        """
        self._served.info()

    async def warm_up_async(self) -> None:
        """Do what :meth:`warm_up` does, without keeping the event loop from other work."""
        await self._served.ainfo()

    def _get_telemetry_data(self) -> dict[str, Any]:
        """Return what Haystack may send of it: nothing of the model."""
        return {}


@component
class ThothTextEmbedder(_Embedder):
    """Embeds a text, such as a question, with a model of the bundle, and its ``query`` prompt where it has one.

    Args:
        model: Name or alias; ``default`` is the bundle's default model where nothing is called that.
        config: Settings of the manager; None for the default ones. ``expect_spaces`` refuses every other space than the
            one that the documents were embedded in.
        prefix: Text to put before each text.
        suffix: Text to put after each text.

    Raises:
        InvalidInputError: ``model`` is no str.
    """

    def __init__(
        self, model: str = DEFAULT, config: ManagerConfig | None = None, prefix: str = "", suffix: str = ""
    ) -> None:
        # By name: Haystack makes another class of this one, and super() would find itself in the wrong one.
        _Embedder.__init__(self, model, config, prefix, suffix)

    def to_dict(self) -> dict[str, Any]:
        """Return the component as plain values."""
        settings = settings_of(self.config)
        return default_to_dict(self, model=self.model, config=settings, prefix=self.prefix, suffix=self.suffix)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ThothTextEmbedder:
        """Return the component that :meth:`to_dict` described."""
        return default_from_dict(cls, _with_config(data))

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    def run(self, text: str) -> dict[str, Any]:
        """Embed a text.

        Returns:
            ``embedding``: a list of floats. ``meta``: model, variant and space that answered.

        Raises:
            TypeError: It is no str.
            ThothModelsError: The model cannot be loaded.
        """
        vector, info = self._served.answered_query(self._prepared(text))
        return {"embedding": vector, "meta": _meta(info)}

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    async def run_async(self, text: str) -> dict[str, Any]:
        """Do what :meth:`run` does, without keeping the event loop from other work."""
        return await self._served.in_thread(functools.partial(self.run, text))

    def _prepared(self, text: object) -> str:
        if not isinstance(text, str):
            raise TypeError(
                f"ThothTextEmbedder expects a str as input, found {type(text).__name__}; for documents there is "
                "ThothDocumentEmbedder"
            )
        return self.prefix + text + self.suffix


@component
class ThothDocumentEmbedder(_Embedder):
    """Embeds documents with a model of the bundle, and its ``document`` prompt where it has one.

    Args:
        model: Name or alias; ``default`` is the bundle's default model where nothing is called that.
        config: Settings of the manager; None for the default ones. ``expect_spaces`` refuses every other space than the
            one that the documents in the store were embedded in.
        prefix: Text to put before each text.
        suffix: Text to put after each text.
        batch_size: Most texts that the model runs at once; None for what suits the backend.
        progress_bar: Count the texts that are done on standard error.
        meta_fields_to_embed: Fields of a document's ``meta`` that are embedded with it, before its content.
        embedding_separator: What stands between these.

    Raises:
        InvalidInputError: ``model`` is no str, or a setting cannot be used.
    """

    def __init__(  # noqa: PLR0913 - those that Haystack's own embedders have
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
        """Return the component as plain values."""
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
        """Return the component that :meth:`to_dict` described."""
        return default_from_dict(cls, _with_config(data))

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Embed documents.

        Returns:
            ``documents``: copies of those given, in their order, each with its ``embedding``. ``meta``: model, variant
            and space that answered.

        Raises:
            TypeError: It is no list of documents.
            ThothModelsError: The model cannot be loaded.
        """
        vectors, info = self._served.answered_documents(
            self._texts(documents), batch_size=self.batch_size, show_progress_bar=self.progress_bar
        )
        made = [replace(document, embedding=vector) for document, vector in zip(documents, vectors, strict=True)]
        return {"documents": made, "meta": _meta(info)}

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """Do what :meth:`run` does, without keeping the event loop from other work."""
        return await self._served.in_thread(functools.partial(self.run, documents))

    def _texts(self, documents: object) -> list[str]:
        wrong = (
            type(documents)
            if not isinstance(documents, list)
            else next((type(one) for one in documents if not isinstance(one, Document)), None)
        )
        if wrong is not None:
            raise TypeError(
                f"ThothDocumentEmbedder expects a list of documents as input, found {wrong.__name__}; for a str there "
                "is ThothTextEmbedder"
            )
        return [self._text(document) for document in documents]  # type: ignore[attr-defined] # it was looked at

    def _text(self, document: Document) -> str:
        given = (document.meta.get(field) for field in self.meta_fields_to_embed)
        fields = [str(value) for value in given if value is not None]
        return self.prefix + self.embedding_separator.join([*fields, document.content or ""]) + self.suffix


def _with_config(data: dict[str, Any]) -> dict[str, Any]:
    arguments = data.get("init_parameters", {})
    return {**data, "init_parameters": {**arguments, "config": config_of(arguments.get("config"))}}


def _meta(info: EmbeddingInfo) -> dict[str, Any]:
    return {"model": info.model, "variant": info.variant, "space": info.space}
