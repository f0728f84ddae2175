"""The one place of this package that knows the project's components for Haystack."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal

from thoth_models.errors import BackendUnavailableError

if TYPE_CHECKING:
    from thoth_models.config import ManagerConfig

_ADAPTER: Final = "thoth_models.adapters.haystack"
_COMPONENTS: Final = {"document": "ThothDocumentEmbedder", "text": "ThothTextEmbedder"}


def component(kind: Literal["document", "text"], model: str, config: ManagerConfig) -> Any:  # noqa: ANN401
    """Return a Haystack component that embeds documents, or a text, with a model; it is warmed up.

    Raises:
        BackendUnavailableError: Haystack is not installed.
    """
    if find_spec("haystack") is None:
        raise BackendUnavailableError(
            "Haystack is not installed, which the embedders are components of: install thoth-models[haystack]; "
            "encode_documents and encode_query work without it"
        )
    adapter = importlib.import_module(_ADAPTER)
    embedder = getattr(adapter, _COMPONENTS[kind])(model=model, config=config)
    embedder.warm_up()
    return embedder
