"""The vector store of a request."""

import os


# Import new vector store plugin architecture
from thoth_qdrant import VectorStoreFactory
from thoth_qdrant import EvidenceDocument, ColumnNameDocument, SqlDocument, ThothType

from thoth_core.models import VectorDbChoices
from .session_utils import get_current_workspace

KINDS = {ThothType.EVIDENCE: EvidenceDocument, ThothType.COLUMN_NAME: ColumnNameDocument, ThothType.SQL: SqlDocument}


def get_vector_store(request):
    """Return the store of the current workspace."""
    vector_db = get_current_workspace(request).sql_db.vector_db
    backend = {VectorDbChoices.QDRANT: "qdrant"}[vector_db.vect_type]
    params = {"collection": vector_db.name, "host": vector_db.host, "port": vector_db.port}
    settings = {name: os.environ.get(f"EMBEDDING_{name}") for name in ("PROVIDER", "API_KEY", "MODEL")}
    if not all(settings.values()):
        raise ValueError(f"Incomplete embedding configuration: {[name for name in settings if not settings[name]]}")
    params["embedding_provider"] = settings["PROVIDER"]
    params["embedding_model"] = settings["MODEL"]
    params["embedding_dim"] = 1536 if settings["PROVIDER"] == "openai" else 384
    return VectorStoreFactory.create(backend=backend, **params)
