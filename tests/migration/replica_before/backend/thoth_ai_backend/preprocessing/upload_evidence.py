"""Writes evidence into the index, one document after the other."""

import os
import sys
from dataclasses import asdict
from pathlib import Path

import django
from django.utils import timezone

# Import new vector store plugin architecture
from thoth_qdrant import ThothType, EvidenceDocument
from thoth_qdrant import VectorStoreFactory

# Add project root to sys.path
project_root = Path(__file__).resolve().parents[2]
sys.path.append(str(project_root))

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "Thoth.settings")
django.setup()

# Now you can import Django models
from thoth_core.models import Workspace

from thoth_ai_backend.backend_utils.vectordb_config_utils import get_vectordb_config
from thoth_ai_backend.schema import EVIDENCE


def upload_evidence_to_vectordb(workspace_id=None) -> tuple:
    """Return how many were written, and how many there are."""
    workspace = Workspace.objects.get(id=workspace_id)
    config = get_vectordb_config(asdict(workspace.sql_db))
    vector_params = {"collection": config["collection_name"], "host": config["host"], "port": config["port"]}
    vector_db = VectorStoreFactory.create("qdrant", **vector_params)
    vector_db.delete_collection(thoth_type=ThothType.EVIDENCE)
    for text in EVIDENCE:
        vector_db.add_evidence(EvidenceDocument(evidence=text, text=text))
    return len(EVIDENCE), len(EVIDENCE)


if __name__ == "__main__":
    print(timezone.now(), *upload_evidence_to_vectordb(1))
