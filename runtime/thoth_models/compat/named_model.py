"""What the old names meant, and a model that is held by its name.

thoth-vdbmanager 0.5 and 0.6 knew four models by short names. Here a name means what ``models.yaml`` says, which may be
another model, with other vectors; whoever calls the old name is told so, loudly, once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass, replace
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from thoth_models.config import ManagerConfig
from thoth_models.deadline import done
from thoth_models.errors import InvalidInputError, ModelUnavailableError, UnknownModelError
from thoth_models.events import tell
from thoth_models.loading import bundle_root, warn_fallback
from thoth_models.loads import OpenOnly
from thoth_models.manager import EmbeddingManager
from thoth_models.selection import DEFAULT, expected_space, select

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from thoth_models.embedding import Embedding
    from thoth_models.info import EmbeddingInfo
    from thoth_models.manifest import Manifest, Model

_PUBLISHER: Final = "sentence-transformers/"
"""sentence-transformers itself looks for a name without an organisation there, so both mean the same model."""

OLD_MODELS: Final = {
    "default": "paraphrase-multilingual-MiniLM-L12-v2",
    "large": "paraphrase-multilingual-mpnet-base-v2",
    "fast": "distiluse-base-multilingual-cased",
    "legacy": "all-MiniLM-L6-v2",
}
"""The model that each short name meant, by its name on the Hub below ``sentence-transformers/``."""


class NamedModel:
    """One model of the bundle, by a name that may be an old one. Loads nothing by itself.

    Args:
        name: Name or alias; ``default`` is the bundle's default model where nothing is called that.
        config: Settings of the manager that answers; None for the default ones.

    Raises:
        InvalidInputError: ``name`` is no str.
    """

    def __init__(self, name: str, config: ManagerConfig | None) -> None:
        if not isinstance(name, str):
            raise InvalidInputError(f"model_name: expected a str, found {type(name).__name__}")
        self.name = name
        self.config = ManagerConfig() if config is None else config
        self.info: EmbeddingInfo | None = None
        """Where the model that answers comes from, with the reason why it is another one in ``fallback``; None until it
        was loaded."""

    @property
    def manager(self) -> EmbeddingManager:
        """The manager that answers in this process."""
        return EmbeddingManager.get_instance(self.config)

    @contextlib.contextmanager
    def use(self) -> Iterator[Embedding]:
        """Yield the model, loaded; it stays loaded until the end of the ``with`` statement.

        Warns:
            FallbackWarning: A model of another embedding space answers, or one that the old name did not mean; once.

        Raises:
            UnknownModelError: The bundle has no model or alias of that name; for an old name, with what it meant.
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
        """Return what the bundle holds, within the deadline of the settings.

        Raises:
            BundleNotFoundError: There is no bundle.
            BundleError: Its manifest cannot be used.
            LoadTimeout: The deadline passed.
        """
        return done(OpenOnly(bundle_root(self.config.root).absolute(), self.config.timeout)).manifest

    def answering(self) -> tuple[Model, str | None]:
        """Return the model that answers, or would if it were loaded now, and why it is not the one that the name meant.

        Raises:
            UnknownModelError: The bundle has no model or alias of that name; for an old name, with what it meant.
            ThothModelsError: Nothing in the bundle may answer, or it cannot be read.
        """
        manifest = self.manifest()
        if self.info is not None and self.info.model in manifest.models:
            return manifest.models[self.info.model], self.info.fallback
        return answering(manifest, self.name, self.config)

    def _note(self, info: EmbeddingInfo) -> None:
        """Keep where the model comes from; where it is not what the name meant, say so, once."""
        before = self.info
        if before is not None and replace(before, fallback=info.fallback) == info:
            return
        reason = info.fallback or other_meaning(self.name, info.model, self.manifest())
        if reason is not None and info.fallback is None and (before is None or before.fallback != reason):
            # Before it is kept: where a warning is an error, so it is for every call.
            warn_fallback(reason)
            tell("fallback", requested=self.name, model=info.model, variant=info.variant, reason=reason)
        self.info = replace(info, fallback=reason)


def answering(manifest: Manifest, name: str, config: ManagerConfig) -> tuple[Model, str | None]:
    """Return the model that a bundle has for a name under these settings, and why it is not what the name meant.

    Raises:
        UnknownModelError: There is no model or alias of that name; for an old name, with what it meant.
        SpaceMismatchError: Only a model of another space could answer, and that is not accepted.
        ModelUnavailableError: Nothing can answer.
    """
    if name not in manifest.names():
        name = name.removeprefix(_PUBLISHER)
    requested = None if name == DEFAULT and DEFAULT not in manifest.names() else name
    try:
        selection = select(
            manifest,
            requested,
            variants=config.variants,
            same_space=config.same_space,
            expect_space=expected_space(manifest, requested, config.expect_spaces),
        )
    except UnknownModelError as error:
        raise UnknownModelError(f"{error}{hint(name)}") from error
    if not selection.candidates:
        raise ModelUnavailableError(selection.requested, selection.passed_over)
    candidate = selection.candidates[0]
    if candidate.same_space:
        return candidate.model, other_meaning(name, candidate.model.name, manifest)
    reasons = "; ".join(map(str, selection.passed_over))
    return candidate.model, f"{candidate.model.name} stands in for {name!r}, with another embedding space ({reasons})"


def other_meaning(name: str, model_name: str, manifest: Manifest) -> str | None:
    """Return why the model that answers is another one than an old name meant; None where it is the same.

    It is the same where it comes from the repository of that name, or where the list gives it that name as an alias,
    which is how a list says it of a model from a wheel or a directory.
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
        f"vectors belong to another embedding space ({model.built.space.short}), do not mix them with those of old"
    )


def hint(name: str) -> str:
    """Return what to do about an old name that the bundle does not have; nothing for any other name."""
    old = OLD_MODELS.get(name)
    if old is None:
        return ""
    meant = f"; {name!r} meant {old} in thoth-vdbmanager: list a model for it in models.yaml with `aliases: [{name}]`"
    return f"{meant}, or a default model" if name == DEFAULT else meant


def is_multilingual(model: Model) -> bool:
    """Return whether a model is called multilingual, by the list or where it comes from; a bundle does not say more."""
    origin = "" if model.built is None else model.built.origin.id
    return any("multilingual" in name.lower() for name in (model.name, *model.aliases, origin))


def listed_documents(documents: object) -> list[Any]:
    """Return Haystack's documents as a list: what can be gone through once is gone through here.

    Raises:
        InvalidInputError: It is nothing that can be gone through.
    """
    if isinstance(documents, (str, bytes, Mapping)) or not isinstance(documents, Iterable):
        raise InvalidInputError(f"documents: expected a list of documents, found {type(documents).__name__}")
    return list(documents)


def documents_with(documents: Sequence[object], vectors: Sequence[list[float]]) -> list[Any]:
    """Return Haystack's documents, the same ones, each with its vector as ``embedding``."""
    for document, vector in zip(documents, vectors, strict=True):
        # thoth-vdbmanager's callers keep using the documents that they gave. Haystack warns of any change of one,
        # because components may share it; here the caller hands it over for exactly this.
        put = object.__setattr__ if is_dataclass(document) else setattr
        put(document, "embedding", vector)
    return list(documents)


def contents_of(documents: Sequence[object]) -> list[str]:
    """Return the texts of Haystack's documents; one without a text counts as the empty text.

    Raises:
        InvalidInputError: One of them is no document; the message names its index.
    """
    texts: list[str] = []
    for index, document in enumerate(documents):
        if not hasattr(document, "content") or not isinstance(document.content, (str, NoneType)):
            raise InvalidInputError(
                f"documents[{index}]: expected a document with a text as its content, found {type(document).__name__}; "
                "encode_texts of ExternalEmbeddingManager, and EmbeddingManager.encode, take texts"
            )
        texts.append(document.content or "")
    return texts


def query_text(query: object) -> str:
    """Return a query without the spaces around it, as thoth-vdbmanager encoded it.

    Raises:
        InvalidInputError: It is no str, or there is nothing in it.
    """
    if not isinstance(query, str):
        raise InvalidInputError(f"query: expected a str, found {type(query).__name__}")
    if not query.strip():
        raise InvalidInputError("query: expected a text, found an empty one")
    return query.strip()
