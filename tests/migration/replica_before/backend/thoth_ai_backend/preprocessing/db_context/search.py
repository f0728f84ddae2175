"""Searches for columns."""

import os
from typing import List

import django
from thoth_qdrant import BaseThothDocument, ThothType, VectorStoreInterface

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "Thoth.settings")
django.setup()

from thoth_core.models import SqlDb


def query_vector_db(document_store: VectorStoreInterface, query: str, top_k: int) -> List[BaseThothDocument]:
    """Return the columns that are near to a query."""
    return document_store.search_similar(
        query=query, doc_type=ThothType.COLUMN_NAME, top_k=top_k, score_threshold=0.5
    )


if __name__ == "__main__":
    if True:
        db = SqlDb.objects.get(name="shop")

        # Initialize the vector store using the new plugin system
        from thoth_qdrant import VectorStoreFactory

        document_store = VectorStoreFactory.create(
            "qdrant",
            collection=db.get_collection_name(),
            host=db.vector_db.host,
            port=db.vector_db.port,
        )
        for doc in query_vector_db(document_store, "city of the customer", 5):
            print(doc.table_name, doc.original_column_name)
