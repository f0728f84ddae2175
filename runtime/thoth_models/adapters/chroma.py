"""Chroma: an embedding function that a collection stores with its name, model and embedding space."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, cast, final

from thoth_models.adapters.serving import config_of, missing, settings_of
from thoth_models.adapters.spaces import SpaceEncoder
from thoth_models.bundle.selection import DEFAULT
from thoth_models.bundle.space import is_space
from thoth_models.errors import InvalidInputError, SpaceMismatchError
from thoth_models.manager.config import ManagerConfig

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
"""Metadata key under which :func:`open_collection` records the space. ``modify`` with another function does not change
it."""

NAME: Final = "thoth_models"
"""The name that Chroma stores with a collection to find this class again."""

_DISTANCE: Final = "hnsw:space"
"""Metadata key that older collections use for their distance; Chroma refuses to replace metadata that contain it."""

_DISTANCES: Final[Mapping[str, Distance]] = {"cosine": "cosine", "dot": "ip", "euclidean": "l2"}


@register_embedding_function
@final
class ThothEmbeddingFunction(EmbeddingFunction[Documents]):
    """A model of the bundle as an embedding function for Chroma's collections.

    A collection stores what :meth:`get_config` returns, including the embedding space. If a collection is opened
    without a function, Chroma makes one from that; it refuses every other space.

    Args:
        model: Name or alias; ``default`` means the bundle's default model if nothing has that name.
        config: Settings of the manager; None for the defaults.
        space: The space that the vectors must belong to. None for that of the model that answers now; the model is then
            loaded immediately. (If it were loaded inside ``create_collection`` and failed, Chroma would only warn, and
            create a collection without a function.)

    Warns:
        FallbackWarning: The fallback is a model of another space; a new collection will have its vectors.

    Raises:
        InvalidInputError: An argument is not valid, or Chroma does not have the model's similarity function.
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
        """Identity of the embedding space that all vectors belong to."""
        return self._space

    def __call__(self, input: Documents) -> Embeddings:  # noqa: A002 - Chroma compares the name of the argument
        """Return the vectors of documents: a list of float32 of shape (dimension,), one for each.

        Raises:
            InvalidInputError: A text is not a str; the message names its index.
            SpaceMismatchError: The model that answers now has another space.
            ValueError: Raised by Chroma if there are no documents.
        """
        return self._encode(input, "document")

    def embed_query(self, input: Documents) -> Embeddings:  # noqa: A002 - Chroma passes it by this name
        """Return the vectors of queries, in the same form as for documents; an empty list for an empty input."""
        return self._encode(input, "query")

    @staticmethod
    def name() -> str:
        """Return the name that Chroma stores."""
        return NAME

    def get_config(self) -> dict[str, Any]:
        """Return what Chroma stores: model, space, and the settings that differ from the defaults."""
        return {"model": self._encoder.model, "space": self._space, "settings": settings_of(self._encoder.config)}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> ThothEmbeddingFunction:
        """Return the function of a stored collection; it loads the model at its first call."""
        ThothEmbeddingFunction.validate_config(config)
        return ThothEmbeddingFunction(config["model"], config_of(config.get("settings")), space=config["space"])

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Check a stored configuration.

        Raises:
            InvalidInputError: ``config`` does not have the form that :meth:`get_config` returns.
        """
        if not isinstance(cast("object", config), dict) or not {"model", "space"} <= config.keys():
            raise InvalidInputError(f"configuration of {NAME}: expected model and space, found {config!r}")
        known = {setting.name for setting in fields(ManagerConfig)}
        if unknown := set(config.get("settings") or {}) - known:
            raise InvalidInputError(f"configuration of {NAME}: expected settings of a manager, found {sorted(unknown)}")

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Check the configuration that replaces the stored one. Chroma calls this after it has written the new one.

        Raises:
            SpaceMismatchError: The new configuration has another embedding space.
        """
        self.validate_config(new_config)
        if old_config["space"] != new_config["space"]:
            raise SpaceMismatchError(
                f"the collection: expected a function of its embedding space {old_config['space']}, "
                f"found one of {new_config['space']}, which Chroma has stored before checking it; "
                "open_collection restores the previous function"
            )

    def default_space(self) -> Distance:
        """Return Chroma's name for the model's similarity function.

        Raises:
            InvalidInputError: Chroma does not have that function.
        """
        facts = self._known()
        if facts.similarity not in _DISTANCES:
            raise InvalidInputError(
                f"{facts.model}: expected a similarity function that Chroma has ({', '.join(_DISTANCES)}), "
                f"found {facts.similarity}"
            )
        return _DISTANCES[facts.similarity]

    def supported_spaces(self) -> list[Distance]:
        """Return Chroma's names for the distances that rank results as the model's similarity function does.

        For vectors of length 1, cosine, dot product and Euclidean distance give the same ranking.
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
    **options: Any,  # noqa: ANN401 - the options of Chroma's get_or_create_collection
) -> Collection:
    """Open a collection and check its embedding space; create the collection if it does not exist.

    Chroma itself compares only the names of functions: ``get_collection`` and ``get_or_create_collection`` use any
    function they are given. This function compares the spaces. It also records the space in the collection's metadata,
    so that it can restore the function if ``modify`` replaced it by one of another space (Chroma writes the new one
    before it asks whether it is valid). If ``modify`` replaced the metadata and dropped the key :data:`SPACE`, this
    function writes the key again.

    Args:
        client: Any client of Chroma.
        name: Name of the collection.
        model: Name or alias of the model; see :class:`ThothEmbeddingFunction`.
        config: Settings of the manager; None for the defaults.
        options: Options of ``get_or_create_collection``, except the function; used when the collection is created.

    Raises:
        SpaceMismatchError: The collection has another space, or records none.
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
        _log.warning("Chroma collection %r: restoring the function of space %s, found %s", name, found, of_function)
        with contextlib.suppress(SpaceMismatchError):  # raised by the function being replaced, after Chroma has written
            collection.modify(configuration={"embedding_function": cast("EmbeddingFunction[Any]", function)})
    if made_of is None and _DISTANCE not in (collection.metadata or {}):
        # Created by other code, or modified since: modify() replaces all of the metadata.
        collection.modify(metadata={**(collection.metadata or {}), SPACE: found})
    return collection
