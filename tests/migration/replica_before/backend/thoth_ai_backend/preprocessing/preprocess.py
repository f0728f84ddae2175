"""Writes the columns into the index."""

import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path

import django

# Import new vector store plugin architecture
from thoth_qdrant import VectorStoreFactory
from thoth_qdrant import VectorStoreInterface

# Add project root to sys.path
project_root = Path(__file__).resolve().parents[2]
sys.path.append(str(project_root))

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "Thoth.settings")
django.setup()

# Now you can import Django models
from thoth_core.models import SqlDb

from thoth_ai_backend.backend_utils.vectordb_config_utils import get_vectordb_config
from thoth_qdrant import ColumnNameDocument
from thoth_ai_backend.schema import COLUMNS


def preprocess(document_store: VectorStoreInterface) -> None:
    """Add all columns, in batches."""
    document_store.ensure_collection_exists()
    document_store.bulk_add_documents(
        [
            ColumnNameDocument(
                table_name=table,
                column_name=column,
                original_column_name=column,
                column_description=description,
                value_description="",
                text=f"{table}.{column}: {description}",
            )
            for table, columns in COLUMNS.items()
            for column, description in columns.items()
        ]
    )


if __name__ == "__main__":
    if True:
        vector_db_config = get_vectordb_config(asdict(SqlDb.objects.get(name="shop")))
        try:
            vector_db = VectorStoreFactory.create_vector_store(
                vector_store_type=vector_db_config["vector_db_type"],
                collection_name=vector_db_config.get("collection_name"),
                host=vector_db_config.get("host"),
                port=vector_db_config.get("port"),
            )
        except Exception as e:
            logging.error(f"Failed to create vector store: {e}")
            sys.exit(1)
        preprocess(vector_db)
