"""Access to the project's Haystack components, for the rest of this package."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal

from thoth_models.errors import BackendUnavailableError

if TYPE_CHECKING:
    from thoth_models.manager.config import ManagerConfig

_ADAPTER: Final = "thoth_models.adapters.haystack"
_COMPONENTS: Final = {"document": "ThothDocumentEmbedder", "text": "ThothTextEmbedder"}


def component(kind: Literal["document", "text"], model: str, config: ManagerConfig) -> Any:  # noqa: ANN401
    """Return a Haystack component that embeds documents, or a text, with a model; its model is loaded.

    Raises:
        BackendUnavailableError: Haystack is not installed.
    """
    if find_spec("haystack") is None:
        raise BackendUnavailableError(
            "the embedders are Haystack components, and Haystack is not installed: install thoth-models[haystack]; "
            "encode_documents and encode_query work without it"
        )
    adapter = importlib.import_module(_ADAPTER)
    embedder = getattr(adapter, _COMPONENTS[kind])(model=model, config=config)
    embedder.warm_up()
    return embedder
