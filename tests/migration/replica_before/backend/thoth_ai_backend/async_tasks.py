"""What runs in a thread of a worker."""

import logging
from dataclasses import asdict

from thoth_core.models import Workspace
from .preprocessing.preprocess import preprocess

# Import new vector store plugin architecture
from thoth_qdrant import VectorStoreFactory
from thoth_qdrant import ThothType
from .backend_utils.vectordb_config_utils import get_vectordb_config

logger = logging.getLogger(__name__)


def run_preprocessing_task(workspace_id):
    """Write the columns of a workspace again; the workspace says what became of it."""
    workspace = Workspace.objects.get(id=workspace_id)
    try:
        config = get_vectordb_config(asdict(workspace.sql_db))
        vector_params = {"collection": config["collection_name"], "host": config["host"], "port": config["port"]}
        vector_db = VectorStoreFactory.create("qdrant", **vector_params)
        vector_db.delete_collection(thoth_type=ThothType.COLUMN_NAME)
        preprocess(vector_db)
        workspace.preprocessing_status = "COMPLETED"
    except Exception as e:
        logger.exception("preprocessing")
        workspace.preprocessing_status = "FAILED"
        workspace.last_preprocess_log = str(e)
