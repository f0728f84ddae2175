"""Models by their names in thoth-vdbmanager, and what those names meant there.

thoth-vdbmanager 0.5 and 0.6 had short names for four models. Here a name means what ``models.yaml`` says, which may be
another model with other vectors. The first use of such a name warns about that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass, replace
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from thoth_models.bundle.selection import DEFAULT
from thoth_models.errors import InvalidInputError, UnknownModelError
from thoth_models.events import log_event
from thoth_models.loading.fallback import warn_fallback
from thoth_models.loading.tasks import OpenOnly
from thoth_models.manager.config import ManagerConfig
from thoth_models.manager.manager import EmbeddingManager
from thoth_models.manager.names import would_answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from thoth_models.bundle.manifest import Manifest, Model
    from thoth_models.embedding import Embedding
    from thoth_models.info import EmbeddingInfo

_PUBLISHER: Final = "sentence-transformers/"
"""sentence-transformers adds this to a name without an organisation, so both forms name the same model."""

OLD_MODELS: Final = {
    "default": "paraphrase-multilingual-MiniLM-L12-v2",
    "large": "paraphrase-multilingual-mpnet-base-v2",
    "fast": "distiluse-base-multilingual-cased",
    "legacy": "all-MiniLM-L6-v2",
}
"""The model that each short name meant; a repository of ``sentence-transformers`` on the Hub."""


class NamedModel:
    """One model of the bundle, by a name that may be an old one. Creating it loads nothing.

    Args:
        name: Name or alias; ``default`` means the bundle's default model if nothing has that name.
        config: Settings of the manager; None for the defaults.

    Raises:
        InvalidInputError: ``name`` is not a str.
    """

    def __init__(self, name: str, config: ManagerConfig | None) -> None:
        if not isinstance(name, str):
            raise InvalidInputError(f"model_name: expected a str, found {type(name).__name__}")
        self.name = name
        self.config = ManagerConfig() if config is None else config
        self.info: EmbeddingInfo | None = None
        """Where the model comes from; ``fallback`` says why it is another model than the name meant. None until
        loaded."""

    @property
    def manager(self) -> EmbeddingManager:
        """The manager of this process."""
        return EmbeddingManager.get_instance(self.config)

    @contextlib.contextmanager
    def use(self) -> Iterator[Embedding]:
        """Yield the loaded model, which stays loaded until the end of the ``with`` block.

        Warns:
            FallbackWarning: A model of another embedding space answers, or one that the old name did not mean; once.

        Raises:
            UnknownModelError: The bundle has no model or alias of that name. For an old name, the message says which
                model it meant.
            ThothModelsError: The model cannot be loaded; see :func:`load_embedding`.
        """
        with contextlib.ExitStack() as stack:
            try:
                embedding = stack.enter_context(self.manager.use(self.name))
            except UnknownModelError as error:
                if not self.name.startswith(_PUBLISHER):
                    raise UnknownModelError(f"{error}{hint(self.name)}") from error
                embedding = stack.enter_context(self.manager.use(self.name.removeprefix(_PUBLISHER)))
            self._note(embedding.info)
            yield embedding

    def manifest(self) -> Manifest:
        """Return the manifest of the bundle; waits at most ``config.timeout``.

        Raises:
            BundleNotFoundError: The bundle does not exist.
            BundleError: The manifest is not valid.
            LoadTimeout: The deadline passed.
        """
        return OpenOnly(self.config.place(), self.config.timeout).result().manifest

    def answering(self) -> tuple[Model, str | None]:
        """Return the model that answers, or would if it were loaded now, and why it is another one than the name meant.

        Raises:
            UnknownModelError: The bundle has no model or alias of that name. For an old name, the message says which
                model it meant.
            ThothModelsError: No model of the bundle may answer, or the bundle cannot be read.
        """
        manifest = self.manifest()
        if self.info is not None and self.info.model in manifest.models:
            return manifest.models[self.info.model], self.info.fallback
        return answering(manifest, self.name, self.config)

    def _note(self, info: EmbeddingInfo) -> None:
        """Store where the model comes from, and warn once if it is another model than the name meant."""
        before = self.info
        if before is not None and replace(before, fallback=info.fallback) == info:
            return
        reason = info.fallback or other_meaning(self.name, info.model, self.manifest())
        if reason is not None and info.fallback is None and (before is None or before.fallback != reason):
            # Before the assignment: if warnings are errors, every call has to raise, not only the first.
            warn_fallback(reason)
            log_event("fallback", requested=self.name, model=info.model, variant=info.variant, reason=reason)
        self.info = replace(info, fallback=reason)


def answering(manifest: Manifest, name: str, config: ManagerConfig) -> tuple[Model, str | None]:
    """Return the model that answers for a name under these settings, and why it is another one than the name meant.

    Raises:
        UnknownModelError: No model or alias has that name. For an old name, the message says which model it
            meant.
        SpaceMismatchError: Only a model of another space could answer, and that is not accepted.
        ModelUnavailableError: No model can answer.
    """
    if name not in manifest.names():
        name = name.removeprefix(_PUBLISHER)
    try:
        candidate, reason = would_answer(manifest, name, config)
    except UnknownModelError as error:
        raise UnknownModelError(f"{error}{hint(name)}") from error
    return candidate.model, reason or other_meaning(name, candidate.model.name, manifest)


def other_meaning(name: str, model_name: str, manifest: Manifest) -> str | None:
    """Return why the model that answers is another one than an old name meant; None if it is the same.

    It is the same if it comes from the repository of that name, or if it has the name of that repository as an alias in
    models.yaml; use the alias for a model from a wheel or a directory.
    """
    old = OLD_MODELS.get(name)
    model = manifest.models.get(model_name)
    if old is None or model is None or model.built is None:
        return None
    known_as = {model.name, *model.aliases, model.built.origin.id}
    if known_as & {old, f"sentence-transformers/{old}"}:
        return None
    return (
        f"{model.name} ({model.built.origin.id}) answers for {name!r}, which meant {old} in thoth-vdbmanager; its "
        f"vectors belong to another embedding space ({model.built.space.short}): do not mix them with the old ones"
    )


def hint(name: str) -> str:
    """Return what to do about an old name that the bundle does not have; the empty string for any other name."""
    old = OLD_MODELS.get(name)
    if old is None:
        return ""
    meant = f"; {name!r} meant {old} in thoth-vdbmanager: list a model for it in models.yaml with `aliases: [{name}]`"
    return f"{meant}, or a default model" if name == DEFAULT else meant


def is_multilingual(model: Model) -> bool:
    """Return whether a name or the origin of the model contains "multilingual", which is all that a bundle has."""
    origin = "" if model.built is None else model.built.origin.id
    return any("multilingual" in name.lower() for name in (model.name, *model.aliases, origin))


def listed_documents(documents: object) -> list[Any]:
    """Return Haystack's documents as a list; an iterator is consumed only here.

    Raises:
        InvalidInputError: ``documents`` is a str, bytes or mapping, or not iterable.
    """
    if isinstance(documents, (str, bytes, Mapping)) or not isinstance(documents, Iterable):
        raise InvalidInputError(f"documents: expected a list of documents, found {type(documents).__name__}")
    return list(documents)


def documents_with(documents: Sequence[object], vectors: Sequence[list[float]]) -> list[Any]:
    """Set ``embedding`` of each of Haystack's documents to its vector, and return the same documents."""
    for document, vector in zip(documents, vectors, strict=True):
        # Callers of thoth-vdbmanager go on using the documents that they passed, so these are changed in place.
        # Haystack warns when an attribute is assigned, because components may share a document; object.__setattr__
        # avoids that.
        assign = object.__setattr__ if is_dataclass(document) else setattr
        assign(document, "embedding", vector)
    return list(documents)


def contents_of(documents: Sequence[object]) -> list[str]:
    """Return the texts of Haystack's documents; the empty string for a document without content.

    Raises:
        InvalidInputError: An item is not a document; the message has its index.
    """
    texts: list[str] = []
    for index, document in enumerate(documents):
        if not hasattr(document, "content") or not isinstance(document.content, (str, NoneType)):
            raise InvalidInputError(
                f"documents[{index}]: expected a document with text content, found {type(document).__name__}; "
                "for plain texts use ExternalEmbeddingManager.encode_texts or EmbeddingManager.encode"
            )
        texts.append(document.content or "")
    return texts


def query_text(query: object) -> str:
    """Return a query without leading and trailing whitespace, as thoth-vdbmanager encoded it.

    Raises:
        InvalidInputError: ``query`` is not a str, or is blank.
    """
    if not isinstance(query, str):
        raise InvalidInputError(f"query: expected a str, found {type(query).__name__}")
    if not query.strip():
        raise InvalidInputError("query: expected a text, found a blank str")
    return query.strip()
