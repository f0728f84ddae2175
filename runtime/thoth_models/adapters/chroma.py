"""For Chroma: an embedding function that a collection keeps by name, model and embedding space."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, cast, final

from thoth_models.adapters.serving import config_of, missing, settings_of
from thoth_models.adapters.spaces import SpaceEncoder
from thoth_models.config import ManagerConfig
from thoth_models.errors import InvalidInputError, SpaceMismatchError
from thoth_models.selection import DEFAULT
from thoth_models.sides import is_space

try:
    from chromadb.api.types import Documents, EmbeddingFunction, Embeddings
    from chromadb.api.types import Space as Distance
    from chromadb.utils.embedding_functions import register_embedding_function
except ImportError as error:
    raise missing("Chroma", "chroma") from error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

    from thoth_models.adapters.spaces import Kind, Space

_log = logging.getLogger(__name__)

SPACE: Final = "thoth_models_space"
"""Key of the metadata of a collection under which :func:`open_collection` keeps its space, out of reach of ``modify``
with another function."""

NAME: Final = "thoth_models"
"""What Chroma keeps with a collection, to find the class again."""

_DISTANCE: Final = "hnsw:space"
"""Key of the metadata under which collections used to say their measure; Chroma lets no such metadata be replaced."""

_DISTANCES: Final[Mapping[str, Distance]] = {"cosine": "cosine", "dot": "ip", "euclidean": "l2"}


@register_embedding_function
@final
class ThothEmbeddingFunction(EmbeddingFunction[Documents]):
    """Vectors of a model of the bundle, for collections of Chroma.

    A collection keeps what :meth:`get_config` says, the embedding space above all, and Chroma makes the function from
    it again where a collection is opened without one. That function refuses every other space.

    Args:
        model: Name or alias; ``default`` is the bundle's default model where nothing is called that.
        config: Settings of the manager; None for the default ones.
        space: The space that the vectors must belong to. None for that of the model that answers now, which is then
            loaded at once: within ``create_collection``, Chroma would make a warning of a model that cannot be
            loaded, and a collection that knows no function.

    Warns:
        FallbackWarning: A model of another space stands in; its vectors are then what a new collection is made of.

    Raises:
        InvalidInputError: An argument cannot be used, or Chroma does not have the measure of the model.
        ThothModelsError: ``space`` is None, and the model cannot be loaded.
    """

    def __init__(self, model: str = DEFAULT, config: ManagerConfig | None = None, *, space: str | None = None) -> None:
        self._encoder = SpaceEncoder(model, config)
        self._facts: Space | None = None
        if space is None:
            space = self._known().identity
            self.default_space()
        elif not isinstance(cast("object", space), str) or not is_space(space):
            raise InvalidInputError(f"space: expected 64 lower-case hexadecimal digits, found {space!r}")
        self._space = space

    @property
    def space(self) -> str:
        """The identity of the embedding space that all vectors belong to."""
        return self._space

    def __call__(self, input: Documents) -> Embeddings:  # noqa: A002 - Chroma compares the name of the argument
        """Return the vectors of documents: a list of float32 of shape (dimension,), one for each.

        Raises:
            InvalidInputError: A text is not a str; the message names its index.
            SpaceMismatchError: Another space would answer now.
            ValueError: Chroma's own, where there are no documents.
        """
        return self._encode(input, "document")

    def embed_query(self, input: Documents) -> Embeddings:  # noqa: A002 - the name that Chroma gives it by
        """Return the vectors of queries, like those of documents; none for none."""
        return self._encode(input, "query")

    @staticmethod
    def name() -> str:
        """Return the name that Chroma keeps."""
        return NAME

    def get_config(self) -> dict[str, Any]:
        """Return what Chroma keeps: model, space, and those settings that are not the default ones."""
        return {"model": self._encoder.model, "space": self._space, "settings": settings_of(self._encoder.config)}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> ThothEmbeddingFunction:
        """Return the function of a collection; nothing is loaded before it is called."""
        ThothEmbeddingFunction.validate_config(config)
        return ThothEmbeddingFunction(config["model"], config_of(config.get("settings")), space=config["space"])

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Look at what Chroma kept.

        Raises:
            InvalidInputError: It is not what :meth:`get_config` returns.
        """
        if not isinstance(cast("object", config), dict) or not {"model", "space"} <= config.keys():
            raise InvalidInputError(f"configuration of {NAME}: expected model and space, found {config!r}")
        known = {setting.name for setting in fields(ManagerConfig)}
        if unknown := set(config.get("settings") or {}) - known:
            raise InvalidInputError(f"configuration of {NAME}: expected settings of a manager, found {sorted(unknown)}")

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Look at what takes the place of what Chroma kept, which Chroma has written by then.

        Raises:
            SpaceMismatchError: It is of another embedding space.
        """
        self.validate_config(new_config)
        if old_config["space"] != new_config["space"]:
            raise SpaceMismatchError(
                f"the collection: expected a function of its embedding space {old_config['space']}, "
                f"found one of {new_config['space']}, which Chroma has kept before it asked; "
                "open_collection puts back what it made the collection with"
            )

    def default_space(self) -> Distance:
        """Return Chroma's name for the measure of the model.

        Raises:
            InvalidInputError: Chroma does not have it.
        """
        facts = self._known()
        if facts.similarity not in _DISTANCES:
            raise InvalidInputError(
                f"{facts.model}: expected one of the measures that Chroma has, {', '.join(_DISTANCES)}, "
                f"found {facts.similarity}"
            )
        return _DISTANCES[facts.similarity]

    def supported_spaces(self) -> list[Distance]:
        """Return Chroma's names for the measures that rank as the model means it.

        For vectors of length 1, cosine, dot product and Euclidean distance rank alike.
        """
        default = self.default_space()
        return list(_DISTANCES.values()) if self._known().unit_length else [default]

    def _known(self) -> Space:
        if self._facts is None:
            self._facts = self._encoder.space()
        return self._facts

    def _encode(self, texts: object, kind: Kind) -> Embeddings:
        if isinstance(texts, str):
            raise InvalidInputError("input: expected a list of texts, found a str")
        vectors = self._encoder.encode(cast("list[str]", texts), kind, self._space, "this Chroma collection")
        return list(vectors)


def open_collection(
    client: ClientAPI,
    name: str,
    model: str = DEFAULT,
    config: ManagerConfig | None = None,
    **options: Any,  # noqa: ANN401 - those of Chroma's get_or_create_collection
) -> Collection:
    """Return a collection of Chroma, made where there is none, after a look at the space that it keeps.

    Chroma compares no more than the names of functions. Who gives one to ``get_collection`` or
    ``get_or_create_collection`` says that it fits; here that is compared. The space of a collection that is opened here
    is kept in its metadata too: a function of another space that ``modify`` refused, but wrote, is taken back. (What
    ``modify`` replaces the metadata by has to have the key, :data:`SPACE`, or it is put back when the collection is
    opened here again.)

    Args:
        client: Any client of Chroma.
        name: Name of the collection.
        model: Name or alias of the model; see :class:`ThothEmbeddingFunction`.
        config: Settings of the manager; None for the default ones.
        options: Those of ``get_or_create_collection``, but for the function; they count where it is made.

    Raises:
        SpaceMismatchError: The collection keeps another space, or none.
        ThothModelsError: The model cannot be loaded.
    """
    function = ThothEmbeddingFunction(model, config)
    metadata = {**(options.pop("metadata", None) or {}), SPACE: function.space}
    collection = client.get_or_create_collection(
        name, embedding_function=cast("EmbeddingFunction[Any]", function), metadata=metadata, **options
    )
    kept = collection.configuration_json.get("embedding_function") or {}
    of_function = kept.get("config", {}).get("space") if kept.get("name") == NAME else None
    made_of = (collection.metadata or {}).get(SPACE)
    found = of_function if made_of is None else made_of
    if found != function.space:
        what = f"none (its function is {kept.get('name')!r})" if found is None else found
        raise SpaceMismatchError(
            f"Chroma collection {name!r}: expected the embedding space {function.space} of {model!r}, found {what}"
        )
    if of_function != found:
        _log.warning("Chroma collection %r: made of the space %s, and kept a function of %s", name, found, of_function)
        with contextlib.suppress(SpaceMismatchError):  # that of the function that goes; it is written before
            collection.modify(configuration={"embedding_function": cast("EmbeddingFunction[Any]", function)})
    if made_of is None and _DISTANCE not in (collection.metadata or {}):
        # Made by others, or modified since, which replaces all of the metadata.
        collection.modify(metadata={**(collection.metadata or {}), SPACE: found})
    return collection
